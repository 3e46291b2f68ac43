package diskimage_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends/diskimage"
	"archetype/lab"
)

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
}

// disk makes a raw disk with a partition table's mark.
func disk(t *testing.T, file string) string {
	t.Helper()
	data := bytes.Repeat([]byte("something to be found again\n1234"), 1<<15)
	data[510], data[511] = 0x55, 0xaa
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImages(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip(err)
	}
	dir, ctx := t.TempDir(), t.Context()
	s := &diskimage.Store{Dir: filepath.Join(dir, "images"), Labs: filepath.Join(dir, "labs"), Recognise: func(file string) (string, string) {
		if v, ok := strings.CutPrefix(file, "router-"); ok {
			v, _, _ = strings.Cut(v, ".")
			return "router", v
		}
		return "", ""
	}}
	if all, err := s.List(ctx); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	raw := disk(t, filepath.Join(dir, "router-7.img"))
	vmdk, qcow2 := filepath.Join(dir, "router-8.vmdk"), filepath.Join(dir, "other.qcow2")
	qemuImg(t, "convert", "-f", "raw", "-O", "vmdk", raw, vmdk)
	qemuImg(t, "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	for _, in := range []diskimage.Import{{File: raw}, {File: vmdk}, {File: qcow2, Kind: "router", Version: "9", Name: "nine"}} {
		im, err := s.Import(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if im.Format != "qcow2" || im.Kind != "router" || im.State != lab.ImageSynced || im.Virtual != 1<<20 || im.Version == "" {
			t.Errorf("%+v", im)
		}
		back := filepath.Join(dir, "back")
		qemuImg(t, "convert", "-O", "raw", filepath.Join(s.Dir, im.Name), back)
		was, _ := os.ReadFile(raw)
		is, _ := os.ReadFile(back)
		if string(is) != string(was) {
			t.Errorf("%s is not what was imported", im.Name)
		}
	}
	for _, tt := range []struct{ image, want string }{{"", "nine.qcow2"}, {"router-7", "router-7.qcow2"}, {"vendor/router:8", "router-8.qcow2"}, {raw, "router-7.img"}, {"router-7.img", "router-7.img"}} {
		got, err := s.Find(ctx, "router", tt.image, dir)
		if err != nil || filepath.Base(got) != tt.want && tt.image != "" {
			t.Errorf("%q: %s %v", tt.image, got, err)
		}
	}
	for _, image := range []string{"router-1", "x:77"} {
		if _, err := s.Find(ctx, "router", image, dir); !errors.Is(err, diskimage.ErrNotFound) || !strings.Contains(err.Error(), "images import") {
			t.Error(err)
		}
	}
	// One that a node's disk lies over stays.
	node := filepath.Join(s.Labs, "mylab", "r1")
	if err := os.MkdirAll(node, 0o700); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", filepath.Join(s.Dir, "router-7.qcow2"), "-F", "qcow2", filepath.Join(node, "disk.qcow2"))
	if err := s.Remove(ctx, "router-7"); !errors.Is(err, diskimage.ErrInUse) || !strings.Contains(err.Error(), "mylab/r1") {
		t.Error(err)
	}
	if _, err := s.Import(ctx, diskimage.Import{File: raw, Replace: true}); !errors.Is(err, diskimage.ErrInUse) {
		t.Error(err)
	}
	if err := os.RemoveAll(node); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"router-7.qcow2", "router-8", "nine"} {
		if err := s.Remove(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(s.Dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBadFiles(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	s := &diskimage.Store{Dir: filepath.Join(dir, "images"), Labs: filepath.Join(dir, "labs")}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	whole := filepath.Join(dir, "whole.qcow2")
	qemuImg(t, "convert", "-f", "raw", "-O", "qcow2", disk(t, filepath.Join(dir, "d.img")), whole)
	data, _ := os.ReadFile(whole)
	over := filepath.Join(dir, "over.qcow2")
	base := disk(t, filepath.Join(dir, "base.img"))
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", over)
	_ = os.Remove(base)
	elsewhere := disk(t, filepath.Join(t.TempDir(), "secret.img"))
	foreign := filepath.Join(dir, "foreign.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", elsewhere, "-F", "raw", foreign)
	linked := filepath.Join(dir, "beside.img")
	if err := os.Symlink(elsewhere, linked); err != nil {
		t.Fatal(err)
	}
	chain, twice := filepath.Join(dir, "chain.qcow2"), filepath.Join(dir, "twice.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", linked, "-F", "raw", chain)
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", foreign, "-F", "qcow2", twice)
	flat := write("flat.vmdk", "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 2 FLAT \""+elsewhere+"\" 0\nddb.adapterType = \"ide\"\n")
	for name, tt := range map[string]struct{ file, want string }{
		"over a file of another folder": {foreign, "another folder"},
		"over a link to one":            {chain, "another folder"},
		"over a disk over one":          {twice, "another folder"},
		"an extent of another folder":   {flat, "another folder"},
		"no file":                       {filepath.Join(dir, "none.qcow2"), "no such file"},
		"a folder":                      {dir, "not a file"},
		"a text":                        {write("notes.qcow2", "this is no disk"), "no disk"},
		"empty":                         {write("empty.img", ""), "no disk"},
		"cut short":                     {write("cut.qcow2", string(data[:400000])), "qemu-img check"},
		"without base":                  {over, "base.img"},
	} {
		_, err := s.Import(context.Background(), diskimage.Import{File: tt.file})
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if all, _ := s.List(t.Context()); len(all) != 0 {
		t.Errorf("something bad was taken in: %+v", all)
	}
	if left, _ := os.ReadDir(s.Dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
