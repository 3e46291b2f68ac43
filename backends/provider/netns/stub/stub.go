// Package stub is the smallest first process a namespace can have: an
// executable of one page that runs a list of system calls, and nothing else.
//
// The program itself as a node's init costs a Go runtime's start and some
// megabytes, also for a node that only waits to be used. A stub costs what
// the kernel takes for a process; it becomes the program, by execveat, when
// there is something to do for it.
package stub

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Call is one step. Args are int, string (passed as C text), []byte (passed as
// memory that the kernel may write to), or Part.
type Call struct {
	Nr   uintptr
	Args []any
	Op   Op
	Fail string // written to standard output when a Must call fails
}

// Part is what a []byte that another call is passed has in it at some place.
type Part struct {
	Of []byte
	At int
}

// Op says what is made of a call's result.
type Op uint64

// What can be done. Must ends the process with code 1 when the call fails.
// ExitIf makes no call: it ends the process with code 0 when the two bytes of
// memory that its one argument points to are not zero. Become is
// Must, with the process's own arguments and environment as those of the call
// after the first two.
const (
	Must Op = iota + 1
	Try
	ExitIf
	Become
)

// ErrUnsupported says that stubs do not exist for this processor.
var ErrUnsupported = errors.New("no stub for this processor")

// Supported reports whether stubs exist for this processor.
func Supported() bool {
	code, _ := runner()
	return code != nil
}

const (
	base    = 0x400000 // where it is loaded; fixed, so that the code needs no relocation
	codeAt  = 0x80     // behind the ELF header and its one program header
	codeLen = 0x100    // more than any runner has
	tableAt = codeAt + codeLen
	record  = 10 * 8 // op, number, six arguments, message and its length
)

// Image makes the executable of a list of calls. A []byte that is passed to
// several calls is the same memory in all of them.
func Image(calls []Call) ([]byte, error) {
	code, machine := runner()
	if code == nil {
		return nil, ErrUnsupported
	}
	img := make([]byte, tableAt+record*(len(calls)+1))
	copy(img[codeAt:], code)
	places := map[*byte]uint64{}
	place := func(b []byte) uint64 {
		if at, ok := places[&b[0]]; ok {
			return at
		}
		for len(img)%8 != 0 {
			img = append(img, 0)
		}
		at := base + uint64(len(img))
		img = append(img, b...)
		places[&b[0]] = at
		return at
	}
	for i, c := range calls {
		words := [10]uint64{uint64(c.Op), uint64(c.Nr)}
		for j, a := range c.Args {
			switch a := a.(type) {
			case int:
				words[2+j] = uint64(a)
			case string:
				words[2+j] = place(append([]byte(a), 0))
			case []byte:
				words[2+j] = place(a)
			case Part:
				words[2+j] = place(a.Of) + uint64(a.At)
			default:
				return nil, errors.New("a call's argument is of no known type")
			}
		}
		if c.Fail != "" {
			words[8], words[9] = place([]byte(c.Fail)), uint64(len(c.Fail))
		}
		for j, w := range words {
			binary.LittleEndian.PutUint64(img[tableAt+i*record+8*j:], w)
		}
	}
	header(img, len(img), machine)
	return img, nil
}

// Where code that Executable wraps begins, in the file and in memory.
const (
	CodeAt = codeAt
	Base   = base
)

// Executable makes an executable of what is behind CodeAt in the image, for
// this machine's processor. It is loaded at Base, with memory up to the size
// given, in bytes, and begins at CodeAt.
func Executable(img []byte, memory int) error {
	code, machine := runner()
	if code == nil {
		return ErrUnsupported
	}
	header(img, memory, machine)
	return nil
}

func header(img []byte, memory int, machine uint16) {
	le := binary.LittleEndian
	copy(img, "\x7fELF\x02\x01\x01")
	le.PutUint16(img[16:], 2) // executable
	le.PutUint16(img[18:], machine)
	le.PutUint32(img[20:], 1)
	le.PutUint64(img[24:], base+codeAt)
	le.PutUint64(img[32:], 64) // the program header is behind this one
	le.PutUint16(img[52:], 64)
	le.PutUint16(img[54:], 56)
	le.PutUint16(img[56:], 1)
	p := img[64:]
	le.PutUint32(p, 1)     // to be loaded,
	le.PutUint32(p[4:], 7) // to be run and written to
	le.PutUint64(p[16:], base)
	le.PutUint64(p[24:], base)
	le.PutUint64(p[32:], uint64(len(img)))
	le.PutUint64(p[40:], uint64(memory))
	le.PutUint64(p[48:], 0x1000)
}

// File makes the executable of a list of calls as a file without a name.
func File(calls []Call) (*os.File, error) {
	img, err := Image(calls)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("archetype", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // a kernel from before that flag
		fd, err = unix.MemfdCreate("archetype", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "stub")
	if _, err := f.Write(img); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Run makes the calls from this process: what a stub would do before it
// waits. Only Must and Try can be run so.
func Run(calls []Call) error {
	for _, c := range calls {
		if err := run(c); err != nil && c.Op == Must {
			return err
		}
	}
	return nil
}
