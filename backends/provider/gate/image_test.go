//go:build amd64 || arm64

package gate

import (
	"bytes"
	"debug/elf"
	"testing"
)

// The code fits into its places, and what is behind it there does no harm.
func TestImageIsAnExecutableOfOnePage(t *testing.T) {
	img, err := image()
	if err != nil {
		t.Skip(err)
	}
	f, err := elf.NewFile(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	p := f.Progs[0]
	if f.Type != elf.ET_EXEC || len(f.Progs) != 1 || p.Memsz != memoryLen || p.Filesz != uint64(len(img)) || len(img) > 4096 {
		t.Errorf("%+v, %+v, %d bytes", f.FileHeader, p.ProgHeader, len(img))
	}
	if n := len(notStarted); n > signalsAt-messageAt {
		t.Errorf("the message of %d bytes has no room", n)
	}
	if n := len(Folder + "/" + Socket); n > messageAt-addressAt-3 {
		t.Errorf("the address of %d bytes has no room", n)
	}
	gate, quit := codeLens()
	if gate > mainLen || quit > quitLen {
		t.Errorf("code of %d and %d bytes has no room in %d and %d", gate, quit, mainLen, quitLen)
	}
}

// codeLens are the sizes of both pieces: the functions follow one another in
// the assembly file.
func codeLens() (gate, quit uintptr) {
	a, b := codeAt(), quitAt()
	return b - a, quitLen
}
