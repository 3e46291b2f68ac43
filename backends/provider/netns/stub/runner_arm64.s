#include "textflag.h"

// The first instructions of a stub. It is copied out of this program, so it
// refers to nothing but the table at 0x400180. Registers: R19 the present
// record, R20 the stack as the kernel gave it.
TEXT ·code(SB), NOSPLIT|NOFRAME, $0
	MOVD RSP, R20
	MOVD $0x400180, R19
next:
	MOVD 0(R19), R21
	MOVD 8(R19), R8
	MOVD 16(R19), R0
	MOVD 24(R19), R1
	MOVD 32(R19), R2
	MOVD 40(R19), R3
	MOVD 48(R19), R4
	MOVD 56(R19), R5
	CMP  $3, R21
	BEQ  exitif
	CMP  $4, R21
	BNE  call
	// Become: argv is behind argc, envp behind argv's end.
	ADD  $8, R20, R2
	MOVD 0(R20), R3
	ADD  R3<<3, R20, R3
	ADD  $16, R3, R3
call:
	SVC
	CMN  $4095, R0
	BCC  done // unsigned: no error
	CMP  $2, R21
	BEQ  done
	// write(1, message, length); exit_group(1)
	MOVD $64, R8
	MOVD $1, R0
	MOVD 64(R19), R1
	MOVD 72(R19), R2
	SVC
	MOVD $1, R0
	B    exit
exitif:
	MOVHU 0(R0), R1
	CBZ  R1, done
	MOVD $0, R0
exit:
	MOVD $94, R8
	SVC
	B    exit
done:
	ADD  $80, R19, R19
	B    next

// func runnerAt() uintptr
TEXT ·runnerAt(SB), NOSPLIT, $0-8
	MOVD $·code(SB), R0
	MOVD R0, ret+0(FP)
	RET
