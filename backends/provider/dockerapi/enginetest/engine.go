// Package enginetest is what every provider of containers must do, as cases
// that each runs on an engine of the tests' own: nothing of the machine's
// engine is touched. A new provider runs them with one line.
package enginetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/osthread"
)

// Provider is one of containers, under test.
type Provider interface {
	backends.Provider
	backends.StatsReader
	backends.ImageManager
	backends.ManagementBridger
	backends.Mender
	backends.Rewirer
	Client() (*client.Client, error)
	Close() error
}

// Kind is what differs from one container engine to another.
type Kind struct {
	Name string // of the engine, and of its command line
	// Missing says what this machine lacks to run the engine, or nothing.
	Missing func() string
	// Command runs the engine, with all that it keeps in the folder, at the
	// endpoint. Its SysProcAttr may ask for namespaces, its Env for variables
	// beside those of the tests.
	Command func(dir, host string) *exec.Cmd
	// Dissolve, where not nil, is called before the engine is told to end, and
	// Ended, where not nil, when it has: of what it leaves on the machine.
	Dissolve, Ended func(*Engine)
	// New makes the provider, given its endpoint and folders.
	New func(host, run, labs string) Provider
}

// Engine is a private container engine.
type Engine struct {
	Kind
	Host string // its endpoint
	Dir  string // with all that it keeps

	cmd *exec.Cmd
	end chan struct{}

	mu      sync.Mutex
	folders map[Provider]string // of the providers that New made
}

// Launch makes an engine with the image that the cases use. The caller closes
// it.
func Launch(k Kind) (_ *Engine, err error) {
	dir, err := os.MkdirTemp("", "eng") // short: sockets live in it
	if err != nil {
		return nil, err
	}
	e := &Engine{Kind: k, Host: "unix://" + dir + "/s", Dir: dir, folders: map[Provider]string{}}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return e, e.Import(ctx, Image, nil, `CMD ["sh"]`)
}

// At is an engine that somebody else has launched.
func At(k Kind, host string) *Engine {
	return &Engine{Kind: k, Host: host, folders: map[Provider]string{}}
}

// Connect is a connection of the caller's own.
func (e *Engine) Connect() (*client.Client, error) { return client.New(client.WithHost(e.Host)) }

// Start starts the engine, anew after a Stop, and returns when it answers.
func (e *Engine) Start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(e.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := e.launch(log); err != nil {
		return err
	}
	cli, err := e.Connect()
	if err != nil {
		return err
	}
	defer cli.Close()
	for {
		if _, err := cli.Ping(ctx, client.PingOptions{}); err == nil {
			return nil
		}
		select {
		case <-e.end:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s ended: %s", e.Name, said)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", e.Name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// launch starts the engine, which is told to end should the tests be killed.
func (e *Engine) launch(log *os.File) error {
	cmd := e.Command(e.Dir, e.Host)
	cmd.Env = append(append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin"), cmd.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGTERM
	if err := osthread.Start(cmd); err != nil {
		return err
	}
	end := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(end)
	}()
	e.cmd, e.end = cmd, end
	return nil
}

// Stop ends the engine. What it keeps stays for the next Start.
func (e *Engine) Stop() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.end:
	case <-time.After(time.Minute):
		_ = e.cmd.Process.Kill()
		<-e.end
	}
	e.cmd = nil
}

// Kill ends the engine at once, and leaves it no time for anything. What it
// had started for itself goes too; what runs in its containers does not.
func (e *Engine) Kill() {
	_ = e.cmd.Process.Kill()
	<-e.end
	e.cmd = nil
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err == nil && strings.Contains(string(line), e.Dir) && strings.Contains(string(line), "containerd.toml") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	// Numbers come back soon where few are in use, and Docker would take whoever
	// has that of its containerd for it.
	_ = os.Remove(filepath.Join(e.Dir, "exec", "containerd", "containerd.pid"))
}

// Close ends the engine and removes all of it.
func (e *Engine) Close() {
	if e.Dissolve != nil && e.cmd != nil {
		e.Dissolve(e)
	}
	e.Stop()
	if e.Ended != nil {
		e.Ended(e)
	}
	_ = os.RemoveAll(e.Dir)
}

// Own is an engine of the test's own, for what others would feel.
func Own(t testing.TB, k Kind) *Engine {
	t.Helper()
	if why := k.Missing(); why != "" {
		t.Skip(why)
	}
	e, err := Launch(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// Shared is an engine that all tests of a binary share. A package that uses
// it runs its tests by Main.
type Shared struct {
	Kind Kind

	mu   sync.Mutex
	e    *Engine
	skip string
	err  error
}

// Main runs a package's tests and stops the engine that they shared. Call it
// from TestMain.
func (s *Shared) Main(m interface{ Run() int }) int {
	code := m.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.e != nil {
		s.e.Close()
	}
	return code
}

// Get is the engine; the test is skipped where there can be none.
func (s *Shared) Get(t testing.TB) *Engine {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.e == nil && s.skip == "" && s.err == nil {
		if s.skip = s.Kind.Missing(); s.skip == "" {
			s.e, s.err = Launch(s.Kind)
		}
	}
	if s.skip != "" {
		t.Skip(s.skip)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.e
}

// Provider is a provider with folders of its own on the engine. What it made
// is removed with the test.
func (e *Engine) Provider(t testing.TB) Provider {
	t.Helper()
	return e.provider(t, t.TempDir())
}

// Again is another provider with the folders of one that was closed, as the
// next engine of the program makes it.
func (e *Engine) Again(t testing.TB, p Provider) Provider {
	t.Helper()
	e.mu.Lock()
	dir := e.folders[p]
	e.mu.Unlock()
	return e.provider(t, dir)
}

func (e *Engine) provider(t testing.TB, dir string) Provider {
	p := e.New(e.Host, filepath.Join(dir, "run"), filepath.Join(dir, "labs"))
	e.mu.Lock()
	e.folders[p] = dir
	e.mu.Unlock()
	t.Cleanup(func() { remove(t, p) })
	return p
}

// remove removes all that a provider made, unless it was closed.
func remove(t testing.TB, p Provider) {
	if _, err := p.Client(); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	list, err := p.List(ctx, "")
	if err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for _, n := range list { // at once: some may have to wait for others
		wg.Go(func() {
			if err := p.Remove(ctx, n.Ref); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Installed reports whether a program is on this machine.
func Installed(name string) bool {
	_, err := exec.LookPath(name)
	if err != nil {
		_, err = os.Stat("/usr/sbin/" + name)
	}
	return err == nil
}
