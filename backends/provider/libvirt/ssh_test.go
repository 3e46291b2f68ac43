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
	"sync"
	"sync/atomic"
	"testing"

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
	view atomic.Pointer[view]
	stop func()
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
	s := &sshd{T: t, dir: t.TempDir(), stop: func() {}}
	s.view.Store(&view{})
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
	host := strings.Fields(s.read("host.pub"))
	s.write("known", fmt.Sprintf("[127.0.0.1]:%d %s %s\n", s.port, host[0], host[1]))
	s.write("none", "")
	s.write("config", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n",
		s.port, s.at("host"), s.at("mine.pub")))
	t.Cleanup(s.stop)
	s.serve(l, server)
	return s
}

// serve has each connection served in namespaces of its own, which look like
// the machine that this is meant to be.
func (s *sshd) serve(l net.Listener, server string) {
	log, err := os.Create(s.at("log"))
	if err != nil {
		s.Fatal(err)
	}
	done := make(chan struct{})
	s.stop = sync.OnceFunc(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		defer func() { _ = log.Close() }()
		var all sync.WaitGroup
		defer all.Wait() // each ends with its client
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, err := c.(*net.TCPConn).File()
			_ = c.Close()
			if err != nil {
				return
			}
			view := *s.view.Load()
			// Its folder is to be in a /run of its own.
			words := append([]string{"--mount", "--uts", "--propagation", "private"}, view.flags...)
			cmd := exec.Command("unshare", append(words, "sh", "-c", "mount -t tmpfs none /run && mkdir /run/sshd && "+view.script+" exec "+server+" -i -e -f "+s.at("config"))...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, log
			all.Go(func() {
				_ = cmd.Run()
				_ = line.Close()
			})
		}
	}()
}

// view is how the machine looks to who logs in.
type view struct {
	flags  []string // of unshare
	script string   // done before, ends with &&
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
	var dir string
	open := func(uri string) *libvirt.Provider {
		var err error
		if dir, err = os.MkdirTemp(d.Dir, "home"); err != nil {
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
	// Another machine, or what looks like this one and is not.
	s.write("boot", "00000000-0000-4000-8000-000000000000\n")
	for _, tt := range []struct {
		view view
		want string
	}{
		{view{script: "hostname elsewhere &&"}, ""}, // a name is no machine
		{view{script: "sleep 6 &&"}, ""},            // which is slow, as one that is busy or far away
		{view{script: "hostname elsewhere && mount --bind " + s.at("boot") + " /proc/sys/kernel/random/boot_id &&"}, "is on another machine (elsewhere)"},
		{view{flags: []string{"--net"}}, "is in another network of this machine"},
		{view{script: "mount -t tmpfs none " + s.at("hide") + " && mount --bind " + s.at("hide") + " HOME &&"}, "sees other files"},
	} {
		p := open(s.uri("mine", "known", d.Socket))
		_ = os.MkdirAll(s.at("hide"), 0o755)
		tt.view.script = strings.ReplaceAll(tt.view.script, "HOME", dir)
		s.view.Store(&tt.view)
		a := p.Available(t.Context())
		if a.OK != (tt.want == "") || !strings.Contains(a.Reason, tt.want) || !a.OK && (!strings.Contains(a.Reason, "qemu+ssh://") || !strings.Contains(a.Fix, "run this program there")) {
			t.Errorf("%+v: %+v\n%s", tt.view, a, s.read("log"))
		}
		_ = p.Close()
	}
	s.view.Store(&view{})
	_ = p.Close()
	s.stop()
	a := open(s.uri("mine", "known", d.Socket)).Available(context.Background())
	if a.OK || !strings.Contains(a.Reason, "Connection refused") || !strings.Contains(a.Fix, "ssh to 127.0.0.1") {
		t.Errorf("nobody listens: %+v", a)
	}
}
