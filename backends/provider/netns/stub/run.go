package stub

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

func run(c Call) error {
	var args [6]uintptr
	var keep [][]byte
	for i, a := range c.Args {
		switch a := a.(type) {
		case int:
			args[i] = uintptr(a)
		case string:
			keep = append(keep, append([]byte(a), 0))
		case []byte:
			keep = append(keep, a)
		}
		if _, number := a.(int); !number {
			args[i] = uintptr(unsafe.Pointer(&keep[len(keep)-1][0]))
		}
	}
	_, _, errno := syscall.RawSyscall6(c.Nr, args[0], args[1], args[2], args[3], args[4], args[5])
	runtime.KeepAlive(keep)
	if errno != 0 {
		return fmt.Errorf("%s: %w", c.Fail, errno)
	}
	return nil
}
