package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/moby/moby/client"
)

// Image is a busybox, of 2 MB, that runs a shell.
const Image = "archetype-test:1"

// Import makes an image of busybox and the files given; a text that begins
// with #! becomes a program. Changes are lines of a Dockerfile.
func (e *Engine) Import(ctx context.Context, name string, files map[string]string, changes ...string) error {
	root, err := Root(files)
	if err != nil {
		return err
	}
	cli, err := e.Connect()
	if err != nil {
		return err
	}
	defer cli.Close()
	res, err := cli.ImageImport(ctx, client.ImageImportSource{Source: root, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: append([]string{"ENV PATH=/bin:/sbin"}, changes...)})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res)
	return errors.Join(err, res.Close())
}

// StaticBusybox is the path of a busybox that needs no libraries, or empty.
func StaticBusybox() string {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"} {
		out, err := exec.Command("ldd", p).CombinedOutput()
		if _, serr := os.Stat(p); serr == nil && err != nil && strings.Contains(string(out), "not a dynamic") {
			return p
		}
	}
	return ""
}

// Root is a root file system of busybox and the files given, as tar.
func Root(files map[string]string) (io.Reader, error) {
	box := StaticBusybox()
	program, err := os.ReadFile(box)
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(box, "--list").Output()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if werr := w.WriteHeader(&h); err == nil {
			err = werr
		}
		if _, werr := w.Write(data); err == nil {
			err = werr
		}
	}
	for _, dir := range []string{"bin", "sbin", "etc", "tmp", "proc", "sys", "dev", "run", "var", "mnt"} {
		put(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	put(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"))
	put(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\nuser:x:1000:\n"))
	for a := range strings.FieldsSeq(string(applets)) {
		if a != "busybox" && files["/bin/"+a] == "" && files["/sbin/"+a] == "" {
			put(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	for name, text := range files {
		mode := int64(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		put(tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg, Mode: mode}, []byte(text))
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return &b, err
}
