package gate

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Install puts a copy of the program into the folder, once for each build,
// and returns its path. The program must need no libraries, as the container
// has its own.
func Install(program, folder string) (string, error) {
	if err := static(program); err != nil {
		return "", err
	}
	in, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return "", err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", program, st.Size(), st.ModTime().UnixNano()))
	path := filepath.Join(folder, Program+"-"+hex.EncodeToString(id[:6]))
	if have, err := os.Stat(path); err == nil && have.Size() == st.Size() {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(folder, "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name()) // it has its name by then
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(0o755)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(out.Name(), path)
	}
	return path, err
}

// static checks that a program runs without a loader.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs shared libraries, so containers cannot run it as their gate: build it with CGO_ENABLED=0", program)
		}
	}
	return nil
}
