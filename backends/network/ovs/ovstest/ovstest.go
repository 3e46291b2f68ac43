// Package ovstest runs a private Open vSwitch, in a network namespace of its
// own, for the length of a test.
package ovstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/network/ovs"
	"archetype/internal/ownmachine"
)

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Switch is a running Open vSwitch.
type Switch struct {
	Socket string // of its database

	t       testing.TB
	dir     string
	netns   *os.File
	jobs    chan func() // run on a thread in the switch's namespace
	daemons map[string]*daemon
}

type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// Network starts a private switch and returns a network on it, in shared
// mode, with the panel that it shares with other networks. Where that cannot
// be done, the test is skipped.
func Network(t testing.TB, panel string) *ovs.Network {
	t.Helper()
	return Start(t).Network(ovs.Config{Panel: panel})
}

// Start starts a private switch; the end of the test ends it. Where that
// cannot be done, the test is skipped.
func Start(t testing.TB) *Switch {
	t.Helper()
	return start(t, unix.CLONE_NEWNET)
}

// Here starts one in the network namespace that the tests are in, where taps
// are: that must be the tests' own.
func Here(t testing.TB) *Switch {
	t.Helper()
	if os.Getenv(ownmachine.Mark) == "" {
		t.Fatal("a switch in a namespace that is not the tests' own")
	}
	return start(t, 0)
}

func start(t testing.TB, flags int) *Switch {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, program := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs Open vSwitch: ", err)
		}
	}
	if _, err := os.Stat(schema); err != nil {
		t.Skip("needs Open vSwitch: ", err)
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0) // a bridge's own interface is a tap
	if err != nil {
		t.Skip("needs taps: ", err)
	}
	_ = tun.Close()
	dir, err := os.MkdirTemp("", "ovs") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	s := &Switch{Socket: filepath.Join(dir, "db.sock"), t: t, dir: dir, jobs: make(chan func()), daemons: map[string]*daemon{}}
	t.Cleanup(s.stop)
	if err := s.enter(flags); err != nil {
		t.Fatal("a network namespace: ", err)
	}
	s.command("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	s.StartDatabase()
	s.Ctl("--no-wait", "init")
	s.StartSwitch()
	return s
}

// Network returns a network on the switch, configured as given but for the
// socket.
func (s *Switch) Network(cfg ovs.Config) *ovs.Network {
	s.t.Helper()
	cfg.Socket = s.Socket
	n, err := ovs.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = n.Close() })
	return n
}

// Namespace is the path of the network namespace that the switch is in.
func (s *Switch) Namespace() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.netns.Fd()) }

// Ctl runs ovs-vsctl on the switch and returns what it says.
func (s *Switch) Ctl(args ...string) string {
	s.t.Helper()
	return s.command("ovs-vsctl", append([]string{"--timeout=30", "--db=unix:" + s.Socket}, args...)...)
}

// StartDatabase starts ovsdb-server, StartSwitch ovs-vswitchd. Both return
// when it answers.
func (s *Switch) StartDatabase() {
	s.t.Helper()
	s.start("ovsdb-server", filepath.Join(s.dir, "conf.db"), "--remote=punix:"+s.Socket)
	s.Ctl("--no-wait", "show")
}

// StartSwitch starts ovs-vswitchd.
func (s *Switch) StartSwitch() {
	s.t.Helper()
	s.start("ovs-vswitchd", "unix:"+s.Socket)
	s.Ctl("set", "Open_vSwitch", ".", "external_ids:started=yes")
}

// Kill ends "ovsdb-server" or "ovs-vswitchd" at once.
func (s *Switch) Kill(name string) {
	s.t.Helper()
	d := s.daemons[name]
	if d == nil {
		s.t.Fatal(name, " does not run")
	}
	delete(s.daemons, name)
	_ = d.cmd.Process.Kill()
	<-d.ended
}

// Halt stops "ovsdb-server" or "ovs-vswitchd" where it is, as one that hangs;
// GoOn ends that.
func (s *Switch) Halt(name string) {
	s.t.Helper()
	s.signal(name, syscall.SIGSTOP)
}

// GoOn has a daemon go on that was halted.
func (s *Switch) GoOn(name string) {
	s.t.Helper()
	s.signal(name, syscall.SIGCONT)
}

func (s *Switch) signal(name string, sig syscall.Signal) {
	s.t.Helper()
	d := s.daemons[name]
	if d == nil {
		s.t.Fatal(name, " does not run")
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// enter makes the namespace and a thread in it, which starts what shall run
// there and with whose end it ends.
func (s *Switch) enter(flags int) error {
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: nobody else may have this thread
		err := unix.Unshare(flags)
		if err == nil {
			s.netns, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
		for job := range s.jobs {
			job()
		}
	}()
	return <-made
}

func (s *Switch) start(name string, args ...string) {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(name, append(args, "--pidfile="+filepath.Join(s.dir, name+".pid"), "-vconsole:warn")...)
	cmd.Env = s.env()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(d.ended)
	}()
	s.daemons[name] = d
}

func (s *Switch) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_DBDIR="+s.dir)
}

func (s *Switch) command(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out []byte
	for { // a daemon that was just started may not listen yet
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = s.env()
		var err error
		if out, err = cmd.CombinedOutput(); err == nil {
			return strings.TrimSpace(string(out))
		}
		if !strings.Contains(string(out), "database connection failed") || ctx.Err() != nil {
			s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *Switch) stop() {
	for _, name := range []string{"ovs-vswitchd", "ovsdb-server"} {
		if d := s.daemons[name]; d != nil {
			_ = d.cmd.Process.Signal(syscall.SIGTERM)
			_ = d.cmd.Process.Signal(syscall.SIGCONT) // one that was halted
			select {
			case <-d.ended:
			case <-time.After(5 * time.Second):
				_ = d.cmd.Process.Kill()
				<-d.ended
			}
		}
	}
	if s.t.Failed() {
		if log, err := os.ReadFile(filepath.Join(s.dir, "ovs-vswitchd.log")); err == nil {
			s.t.Logf("ovs-vswitchd said:\n%s", log)
		}
	}
	close(s.jobs)
	if s.netns != nil {
		_ = s.netns.Close()
	}
	_ = os.RemoveAll(s.dir)
}
