package unixsock

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLongAndShortPaths(t *testing.T) {
	for _, name := range []string{"s", strings.Repeat("long", 40)} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "sock")
		for range 2 { // the second replaces what the first left
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if c, err := l.Accept(); err == nil {
					_, _ = c.Write([]byte("hello"))
					_ = c.Close()
				}
			}()
			c, err := Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(c); string(got) != "hello" {
				t.Errorf("read %q", got)
			}
			_, _ = c.Close(), l.Close()
		}
		if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", st.Mode())
		}
	}
}
