package libvirt_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/libvirt"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/lab"
)

// sshd is one of this test's own on the loopback, which lets one key in.
type sshd struct {
	*testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

func newSSHD(t *testing.T) *sshd {
	t.Helper()
	server, err := exec.LookPath("sshd")
	if err != nil {
		t.Skip("no SSH server: ", err)
	}
	for _, p := range []string{"ssh", "ssh-keygen", "nc"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	s := &sshd{T: t, dir: t.TempDir()}
	for _, name := range []string{"host", "mine", "other"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.at(name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	host := strings.Fields(s.read("host.pub"))
	s.write("known", fmt.Sprintf("[127.0.0.1]:%d %s %s\n", s.port, host[0], host[1]))
	s.write("none", "")
	s.write("config", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n",
		s.port, s.at("host"), s.at("mine.pub")))
	// Its folder is to be in a /run of its own.
	s.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /run && mkdir /run/sshd && exec "+server+" -D -e -f "+s.at("config"))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(s.at("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for over := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			_ = c.Close()
			return s
		}
		if time.Now().After(over) {
			t.Fatalf("sshd does not listen: %v\n%s", err, s.read("log"))
		}
	}
}

func (s *sshd) at(name string) string { return filepath.Join(s.dir, name) }

func (s *sshd) write(name, text string) {
	if err := os.WriteFile(s.at(name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *sshd) read(name string) string {
	data, err := os.ReadFile(s.at(name))
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

func (s *sshd) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// uri is one by which libvirt is found over the SSH server.
func (s *sshd) uri(key, known, socket string) string {
	me, err := user.Current()
	if err != nil {
		s.Fatal(err)
	}
	q := url.Values{"keyfile": {s.at(key)}, "known_hosts": {s.at(known)}, "socket": {socket}}
	return fmt.Sprintf("qemu+ssh://%s@127.0.0.1:%d/system?%s", me.Username, s.port, q.Encode())
}

// TestOverSSH: libvirt is reached by its SSH URI as it is directly, and what
// stands in the way of that is said.
func TestOverSSH(t *testing.T) {
	d := libvirttest.Start(t)
	s := newSSHD(t)
	open := func(uri string) *libvirt.Provider {
		dir, err := os.MkdirTemp(d.Dir, "home")
		if err != nil {
			t.Fatal(err)
		}
		p, err := libvirt.New(libvirt.Config{URI: uri, Run: filepath.Join(dir, "run"), Labs: filepath.Join(dir, "labs")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	for name, tt := range map[string]struct{ key, known, socket, want string }{
		"the host is unknown":   {"mine", "none", d.Socket, "Host key verification failed"},
		"the key is another":    {"other", "known", d.Socket, "Permission denied"},
		"there is no such file": {"mine", "known", d.Dir + "/it's none", "No such file or directory"},
	} {
		a := open(s.uri(tt.key, tt.known, tt.socket)).Available(t.Context())
		if a.OK || !strings.Contains(a.Reason, tt.want) || !strings.Contains(a.Reason, "qemu+ssh://") {
			t.Errorf("%s: %+v", name, a)
		}
	}
	p := open(s.uri("mine", "known", d.Socket))
	if a := p.Available(t.Context()); !a.OK || !strings.Contains(a.Detail, "qemu+ssh://") {
		t.Fatalf("%+v\n%s", a, s.read("log"))
	}
	kind := libvirttest.System{Kernel: "/no/kernel", Initrd: "/no/initrd"}.Kind(t, "small", "disks: [{size_mb: 1}]")
	ref := backends.NodeRef{Lab: "lab", Node: "a"}
	c := backends.NodeConfig{Ref: ref, Node: lab.Node{Name: "a", Kind: kind.Name}, Kind: p.Adapt(kind), Interfaces: []string{"eth1"}}
	if err := p.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if list, err := p.List(t.Context(), "lab"); err != nil || len(list) != 1 || len(d.Domains()) != 1 {
		t.Errorf("%+v %v; libvirt has %v", list, err, d.Domains())
	}
	if err := p.Remove(t.Context(), ref); err != nil || len(d.Domains()) != 0 {
		t.Errorf("%v; libvirt has %v", err, d.Domains())
	}
	s.stop()
	a := open(s.uri("mine", "known", d.Socket)).Available(context.Background())
	if a.OK || !strings.Contains(a.Reason, "Connection refused") {
		t.Errorf("nobody listens: %+v", a)
	}
}
