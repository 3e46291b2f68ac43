// Package dockertest gives tests a Docker engine of their own, with an image
// made on the spot: nothing of the machine's Docker is touched.
package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends/provider/docker"
)

// Image is a busybox, of 2 MB, that runs a shell.
const Image = "archetype-test:1"

// Daemon is a private Docker engine.
type Daemon struct {
	Host string // its endpoint
	Gate string // a program to start in its containers

	dir string
	cmd *exec.Cmd
	end chan struct{}
}

var shared struct {
	sync.Mutex
	d    *Daemon
	skip string
	err  error
}

// Main runs a package's tests and stops the engine that they shared. Call it
// from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.d != nil {
		shared.d.stop()
	}
	return code
}

// Get is the engine that all tests of a binary share; the test is skipped
// where there can be none. A package that uses it runs its tests by Main.
func Get(t testing.TB) *Daemon {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.d == nil && shared.skip == "" && shared.err == nil {
		if shared.skip = missing(); shared.skip == "" {
			shared.d, shared.err = start()
		}
	}
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.d
}

// New is a provider with folders of its own on the shared engine. What it made
// is removed with the test.
func New(t testing.TB) *docker.Provider {
	t.Helper()
	d := Get(t)
	dir := t.TempDir()
	p := docker.New(docker.Config{Host: d.Host, Run: filepath.Join(dir, "run"), Labs: filepath.Join(dir, "labs"), Program: d.Gate})
	t.Cleanup(func() { remove(t, p) })
	return p
}

// remove removes all that a provider made, unless it was closed.
func remove(t testing.TB, p *docker.Provider) {
	if _, err := p.Client(); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	list, err := p.List(ctx, "")
	if err != nil {
		t.Error(err)
	}
	for _, n := range list {
		if err := p.Remove(ctx, n.Ref); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Again is another provider with the folders of one that was closed, as the
// next engine makes it.
func Again(t testing.TB, p *docker.Provider) *docker.Provider {
	t.Helper()
	next := docker.New(p.Config())
	t.Cleanup(func() { remove(t, next) })
	return next
}

func missing() string {
	switch {
	case os.Geteuid() != 0:
		return "needs root"
	case !installed("dockerd"):
		return "needs dockerd (package docker.io)"
	case StaticBusybox() == "":
		return "needs a static busybox (package busybox-static)"
	}
	return ""
}

func installed(name string) bool {
	_, err := exec.LookPath(name)
	if err != nil {
		_, err = os.Stat("/usr/sbin/" + name)
	}
	return err == nil
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

func start() (_ *Daemon, err error) {
	dir, err := os.MkdirTemp("", "dkt") // short: sockets live in it
	if err != nil {
		return nil, err
	}
	d := &Daemon{Host: "unix://" + dir + "/s", dir: dir, end: make(chan struct{}), Gate: filepath.Join(dir, "gate")}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	build := exec.Command("go", "build", "-trimpath", "-o", d.Gate, "archetype/backends/provider/docker/dockertest/gate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the gate: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if err := d.launch(log); err != nil {
		return nil, err
	}
	cli, err := client.New(client.WithHost(d.Host))
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		if _, err := cli.Ping(ctx, client.PingOptions{}); err == nil {
			break
		}
		select {
		case <-d.end:
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("dockerd ended: %s", said)
		case <-ctx.Done():
			return nil, fmt.Errorf("dockerd does not answer: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return d, d.Import(ctx, Image, nil, `CMD ["sh"]`)
}

// launch starts dockerd from a thread that stays: it is told to end with the
// thread, should the tests be killed.
func (d *Daemon) launch(log *os.File) error {
	path, err := exec.LookPath("dockerd")
	if err != nil {
		path = "/usr/sbin/dockerd"
	}
	d.cmd = exec.Command(path, "-H", d.Host, "--data-root", d.dir+"/data", "--exec-root", d.dir+"/exec",
		"--pidfile", d.dir+"/pid", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false")
	d.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait()
			close(d.end)
		}
	}()
	return <-started
}

func (d *Daemon) stop() {
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.end:
		case <-time.After(time.Minute):
			_ = d.cmd.Process.Kill()
			<-d.end
		}
	}
	// What a killed engine leaves mounted must not keep the folder.
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], d.dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
	_ = os.RemoveAll(d.dir)
}

// Import makes an image of busybox and the files given; a text that begins
// with #! becomes a program. Changes are lines of a Dockerfile.
func (d *Daemon) Import(ctx context.Context, name string, files map[string]string, changes ...string) error {
	root, err := Root(files)
	if err != nil {
		return err
	}
	cli, err := client.New(client.WithHost(d.Host))
	if err != nil {
		return err
	}
	defer cli.Close()
	res, err := cli.ImageImport(ctx, client.ImageImportSource{Source: root, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: append([]string{"ENV PATH=/bin:/sbin"}, changes...)})
	if err != nil {
		return err
	}
	defer res.Close()
	_, err = io.Copy(io.Discard, res)
	return err
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
