//go:build amd64 || arm64

package stub

import (
	"debug/elf"
	"runtime"
	"unsafe"
)

// runnerAt is the address of the code in the assembly file.
func runnerAt() uintptr

func runner() (code []byte, machine uint16) {
	machine = uint16(elf.EM_X86_64)
	if runtime.GOARCH == "arm64" {
		machine = uint16(elf.EM_AARCH64)
	}
	at := runnerAt()
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), codeLen), machine
}
