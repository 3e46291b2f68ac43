package libvirt

import (
	"os"
	"path/filepath"
	"testing"

	"archetype/vendors"
)

// Whatever a vendor file calls the files of a seed, and whatever is in them:
// a disk is made that only its owner reads, or an error; and nothing beside it.
func FuzzSeed(f *testing.F) {
	f.Add("cidata", "user-data", "#cloud-config {hostname}", true)
	f.Add("a label that is far too long for a volume", "../../../etc/passwd", "{config|base64}", false)
	f.Add("", "a/../..", "", true)
	f.Add("x", "a/b/c.d", "{password}", false)
	f.Fuzz(func(t *testing.T, label, name, text string, vfat bool) {
		dir := t.TempDir()
		s := vendors.Seed{Label: label, Format: "iso9660", Files: map[string]string{name: text}}
		if vfat {
			s.Format = "vfat"
		}
		to := filepath.Join(dir, "in", "seed.img")
		if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		err := seed(to, s, vendors.Facts{Hostname: "n", Password: "p", Config: text}.Fill)
		st, serr := os.Stat(to)
		if (err == nil) != (serr == nil) || err == nil && st.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v, %v", err, serr, st)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
		above, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(above) != 1 || len(left) > 1 || len(left) == 1 && left[0] != to {
			t.Fatalf("left: %v, %v", above, left)
		}
	})
}
