// Package podmantest gives tests a Podman service of their own, with an image
// made on the spot: nothing of the machine's Podman is touched.
package podmantest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/podman"
)

// Image is a busybox, of 2 MB, that runs a shell.
const Image = "archetype-test:1"

// Service is a private Podman.
type Service struct {
	Host string // its endpoint
	Gate string // a program to start in its containers

	dir string
	cmd *exec.Cmd
	end chan struct{}
}

var shared struct {
	sync.Mutex
	s    *Service
	skip string
	err  error
}

// Main runs a package's tests and stops the service that they shared. Call it
// from TestMain.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.s != nil {
		shared.s.stop()
	}
	return code
}

// Get is the service that all tests of a binary share; the test is skipped
// where there can be none. A package that uses it runs its tests by Main.
func Get(t testing.TB) *Service {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.s == nil && shared.skip == "" && shared.err == nil {
		if shared.skip = missing(); shared.skip == "" {
			shared.s, shared.err = start()
		}
	}
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.s
}

// New is a provider with folders of its own on the shared service. What it
// made is removed with the test.
func New(t testing.TB) *podman.Provider {
	t.Helper()
	s := Get(t)
	dir := t.TempDir()
	p := podman.New(podman.Config{Host: s.Host, Run: filepath.Join(dir, "run"), Labs: filepath.Join(dir, "labs"), Program: s.Gate})
	t.Cleanup(func() { remove(t, p) })
	return p
}

// Again is another provider with the folders of one that was closed, as the
// next engine makes it.
func Again(t testing.TB, p *podman.Provider) *podman.Provider {
	t.Helper()
	next := podman.New(p.Config())
	t.Cleanup(func() { remove(t, next) })
	return next
}

// remove removes all that a provider made, unless it was closed.
func remove(t testing.TB, p *podman.Provider) {
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

func missing() string {
	switch {
	case os.Geteuid() != 0:
		return "needs root"
	case !installed("podman"):
		return "needs podman"
	case !installed("runc") && !installed("crun"):
		return "needs crun or runc"
	case dockertest.StaticBusybox() == "":
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

func start() (_ *Service, err error) {
	dir, err := os.MkdirTemp("", "pmt") // short: sockets live in it
	if err != nil {
		return nil, err
	}
	s := &Service{Host: "unix://" + dir + "/s", dir: dir, end: make(chan struct{}), Gate: filepath.Join(dir, "gate")}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	build := exec.Command("go", "build", "-trimpath", "-o", s.Gate, "archetype/backends/provider/docker/dockertest/gate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the gate: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if err := s.launch(log); err != nil {
		return nil, err
	}
	cli, err := s.Client()
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
		case <-s.end:
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("podman ended: %s", said)
		case <-ctx.Done():
			return nil, fmt.Errorf("podman does not answer: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return s, s.Import(ctx, Image, nil, `CMD ["sh"]`)
}

// Client is a connection of the caller's own.
func (s *Service) Client() (*client.Client, error) { return client.New(client.WithHost(s.Host)) }

// apart are the folders that Podman shares with the machine, whatever it is
// told: the service gets its own. Some are made where they lack.
const apart = `for d in /run/netns /run/libpod /run/containers /etc/containers/networks /var/lib/cni; do
	[ -d $d ] && mount -t tmpfs none $d
done
exec "$@"`

// launch starts Podman, in a mount namespace where what it mounts is nobody
// else's, from a thread that stays: it is told to end with the thread, should
// the tests be killed.
func (s *Service) launch(log *os.File) error {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil { // which podman would make as well
		return err
	}
	s.cmd = exec.Command("sh", "-c", apart, "sh", "podman", "--root", s.dir+"/root", "--runroot", s.dir+"/runroot",
		"--tmpdir", s.dir+"/tmp", "--network-config-dir", s.dir+"/networks", "--cgroup-manager", "cgroupfs",
		"--events-backend", "file", "system", "service", "--time=0", s.Host)
	s.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Unshareflags: syscall.CLONE_NEWNS}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
			close(s.end)
		}
	}()
	return <-started
}

// stop ends the containers that are left, each of which has a process of
// Podman's own beside it, and then the service.
func (s *Service) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.clear()
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.end:
		case <-time.After(time.Minute):
			_ = s.cmd.Process.Kill()
			<-s.end
		}
	}
	// Beside every command that was run Podman leaves a process for minutes.
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err == nil && perr == nil && pid != os.Getpid() && strings.Contains(string(line), s.dir+"/root") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = os.RemoveAll(s.dir)
}

func (s *Service) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cli, err := s.Client()
	if err != nil {
		return
	}
	defer cli.Close()
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return
	}
	for _, c := range list.Items {
		_, _ = cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
}

// Import makes an image of busybox and the files given; a text that begins
// with #! becomes a program. Changes are lines of a Dockerfile.
func (s *Service) Import(ctx context.Context, name string, files map[string]string, changes ...string) error {
	root, err := dockertest.Root(files)
	if err != nil {
		return err
	}
	cli, err := s.Client()
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
