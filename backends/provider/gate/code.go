//go:build amd64 || arm64

package gate

import "unsafe"

// Addresses of the code in the assembly file.
func codeAt() uintptr
func quitAt() uintptr

func code() (gate, quit []byte) {
	return bytesAt(codeAt(), mainLen), bytesAt(quitAt(), quitLen)
}

func bytesAt(at uintptr, n int) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), n)
}
