package guest

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// File is one that the guest has.
type File struct {
	Path string      // absolute, in the guest; its folders come by themselves
	Mode fs.FileMode // 0: that of Source, or 0644; with fs.ModeSymlink, Data is what it points to
	// Source is a file of this machine; where it is empty the content is Data.
	Source string
	Data   []byte
}

// Initramfs writes one to a file: busybox with all its applets, the files, the
// modules in /lib/modules with their order in /lib/modules/order, and an
// /init, which is a script for busybox's shell and begins with loading them.
func (k *Kernel) Initramfs(to string, modules []string, init string, files ...File) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	paths, err := k.Modules(modules...)
	if err != nil {
		return err
	}
	var order strings.Builder
	all := []File{{Path: "/bin/busybox", Mode: 0o755, Source: busybox}, {Path: "/bin/sh", Mode: fs.ModeSymlink, Data: []byte("busybox")}}
	for _, p := range paths {
		in := "/lib/modules/" + filepath.Base(p)
		fmt.Fprintln(&order, in)
		all = append(all, File{Path: in, Source: p})
	}
	all = append(all, File{Path: "/lib/modules/order", Data: []byte(order.String())},
		File{Path: "/init", Mode: 0o755, Data: []byte(preamble + init)})
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	w := &archive{w: bufio.NewWriter(f), have: map[string]bool{}}
	for _, d := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/etc", "/usr/bin", "/usr/sbin", "/sbin"} {
		w.folder(d)
	}
	for _, file := range append(all, files...) {
		w.file(file)
	}
	w.entry("TRAILER!!!", 0, 1, nil, 0)
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if err := f.Close(); w.err == nil {
		w.err = err
	}
	if w.err != nil {
		return fmt.Errorf("%s: %w", to, w.err)
	}
	return nil
}

const preamble = `#!/bin/sh
export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
for m in $(cat /lib/modules/order); do insmod $m || echo "insmod $m failed"; done
ip link set lo up
`

// archive writes the "newc" form of cpio, which is what the kernel unpacks.
type archive struct {
	w    *bufio.Writer
	have map[string]bool
	n    int // inodes so far
	at   int // bytes so far
	err  error
}

const (
	regular   = 0o100000
	directory = 0o040000
	symlink   = 0o120000
)

func (a *archive) folder(p string) {
	if p = path.Clean(p); p == "/" || p == "." || a.have[p] {
		return
	}
	a.folder(path.Dir(p))
	a.have[p] = true
	a.entry(p, directory|0o755, 2, nil, 0)
}

func (a *archive) file(f File) {
	if a.err != nil || a.have[f.Path] {
		return
	}
	a.folder(path.Dir(f.Path))
	a.have[f.Path] = true
	if f.Source == "" {
		mode := uint32(regular | 0o644)
		switch {
		case f.Mode&fs.ModeSymlink != 0:
			mode = symlink | 0o777
		case f.Mode != 0:
			mode = regular | uint32(f.Mode.Perm())
		}
		a.entry(f.Path, mode, 1, strings.NewReader(string(f.Data)), int64(len(f.Data)))
		return
	}
	src, err := os.Open(f.Source)
	if err != nil {
		a.err = err
		return
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	if err != nil {
		a.err = err
		return
	}
	mode := f.Mode
	if mode == 0 {
		mode = info.Mode()
	}
	a.entry(f.Path, regular|uint32(mode.Perm()), 1, src, info.Size())
}

func (a *archive) entry(name string, mode uint32, links int, data io.Reader, size int64) {
	if a.err != nil {
		return
	}
	if name != "TRAILER!!!" {
		name = strings.TrimPrefix(name, "/")
		a.n++
	}
	fields := []any{a.n, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name) + 1, 0}
	a.write("070701" + fmt.Sprintf(strings.Repeat("%08X", len(fields)), fields...) + name + "\x00")
	a.pad()
	if data != nil && a.err == nil {
		n, err := io.Copy(a.w, io.LimitReader(data, size))
		a.at, a.err = a.at+int(n), err
		if err == nil && n != size {
			a.err = fmt.Errorf("%s: %d bytes of %d", name, n, size)
		}
		a.pad()
	}
}

func (a *archive) write(s string) {
	if a.err == nil {
		_, a.err = a.w.WriteString(s)
		a.at += len(s)
	}
}

func (a *archive) pad() { a.write(strings.Repeat("\x00", (4-a.at%4)%4)) }
