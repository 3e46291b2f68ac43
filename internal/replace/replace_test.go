package replace

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// What a killed process left goes with the next replacement, what another one
// is still writing does not, nor does what is only called alike.
func TestRemainsOfAKilledProcessGo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	for _, name := range []string{".a.db-123", ".a.db.backup-20260101-2-77", ".a.db-notes", ".a.dbx-12", "a.db-12", ".b.db-5"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var meanwhile []string
	err := File(path, func(f *os.File) error {
		if _, err := f.WriteString("first"); err != nil {
			return err
		}
		Sweep(path)
		meanwhile = names(t, dir)
		return With(path, []byte("second"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first" {
		t.Errorf("it says %q: %v", text, err)
	}
	kept := []string{".a.db-notes", ".a.dbx-12", ".b.db-5", "a.db-12"}
	if len(meanwhile) != len(kept)+1 {
		t.Errorf("while it is written there are %v", meanwhile)
	}
	want := slices.Sorted(slices.Values(append(kept, "a.db")))
	if got := slices.Sorted(slices.Values(names(t, dir))); !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}
