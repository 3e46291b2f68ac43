package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Whatever a file holds: it is a database all of which can be read, or it is
// refused with an error that says why, and left as it is. What comes is a file
// of some schema, or none, cut to a length, in which each five bytes of edits
// turn bits of one byte at a place.
func FuzzOpen(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.db")
	bases := [][]byte{nil} // the edits themselves
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data)
	}
	for i := range bases {
		f.Add(byte(i), uint32(1<<20), []byte{0, 0, 19, 136, 1})
		f.Add(byte(i), uint32(5000), []byte{0, 0, 0, 24, 255, 0, 0, 32, 20, 2})
	}
	path := filepath.Join(f.TempDir(), "db")
	f.Fuzz(func(t *testing.T, base byte, length uint32, edits []byte) {
		data := bytes.Clone(bases[int(base)%len(bases)])
		if data == nil {
			data = edits
		}
		data = data[:min(len(data), int(length))]
		if len(data) == 0 {
			return // a new one
		}
		for e := range slices.Chunk(edits, 5) {
			if len(e) == 5 {
				data[int(binary.BigEndian.Uint32(e))%len(data)] ^= e[4]
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{NoSync: true, scratch: true})
		if err != nil {
			if now, _ := os.ReadFile(path); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) || !bytes.HasPrefix(now, data) {
				t.Fatalf("%v; %d bytes were %d", err, len(now), len(data))
			}
			return
		}
		defer func() { _ = s.Close() }()
		if err := s.View(func(tx *Tx) error { return tx.Check() }); err != nil {
			t.Fatalf("it was opened, and is damaged: %v", err)
		}
	})
}
