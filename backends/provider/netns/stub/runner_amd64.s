#include "textflag.h"

// The first instructions of a stub. It is copied out of this program, so it
// refers to nothing but the table at 0x400180. Registers: BX the present
// record, R12 the stack as the kernel gave it.
TEXT ·code(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, R12
	MOVQ $0x400180, BX
next:
	MOVQ 0(BX), R13
	MOVQ 8(BX), AX
	MOVQ 16(BX), DI
	MOVQ 24(BX), SI
	MOVQ 32(BX), DX
	MOVQ 40(BX), R10
	MOVQ 48(BX), R8
	MOVQ 56(BX), R9
	CMPQ R13, $3
	JEQ  exitif
	CMPQ R13, $4
	JNE  call
	// Become: argv is behind argc, envp behind argv's end.
	LEAQ 8(R12), DX
	MOVQ 0(R12), R10
	LEAQ 16(R12)(R10*8), R10
call:
	SYSCALL
	CMPQ AX, $-4096
	JLS  done // unsigned: no error
	CMPQ R13, $2
	JEQ  done
	// write(1, message, length); exit_group(1)
	MOVQ $1, AX
	MOVQ $1, DI
	MOVQ 64(BX), SI
	MOVQ 72(BX), DX
	SYSCALL
	MOVQ $1, DI
	JMP  exit
exitif:
	MOVW 0(DI), AX
	TESTW AX, AX
	JEQ  done
	XORQ DI, DI
exit:
	MOVQ $231, AX
	SYSCALL
	JMP  exit
done:
	ADDQ $80, BX
	JMP  next

// func runnerAt() uintptr
TEXT ·runnerAt(SB), NOSPLIT, $0-8
	LEAQ ·code(SB), AX
	MOVQ AX, ret+0(FP)
	RET
