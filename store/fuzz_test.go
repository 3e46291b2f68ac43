package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever a file holds: it is a database all of which can be read, or it is
// refused with an error that says why, and left as it is.
func FuzzOpen(f *testing.F) {
	files, _ := filepath.Glob("testdata/schema-*.db")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint32(5000), byte(1))
	}
	f.Add([]byte("no database"), uint32(3), byte(255))
	path := filepath.Join(f.TempDir(), "db")
	f.Fuzz(func(t *testing.T, data []byte, at uint32, turn byte) {
		if len(data) == 0 {
			return // a new one
		}
		data = bytes.Clone(data)
		data[int(at)%len(data)] ^= turn
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{NoSync: true})
		if err != nil {
			if now, _ := os.ReadFile(path); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) || !bytes.HasPrefix(now, data) {
				t.Fatalf("%v; %d bytes were %d", err, len(now), len(data))
			}
			return
		}
		if err := s.View(func(tx *Tx) error { return tx.Check() }); err != nil {
			t.Fatalf("it was opened, and is damaged: %v", err)
		}
		_ = s.Close()
	})
}
