package netns_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/netns"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/lab"
	"archetype/vendors"
)

// The test binary is also the holder and the nodes' init, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case holder.Verb:
			os.Exit(holder.Main(os.Args[2:]))
		case holder.InitVerb:
			os.Exit(nodeinit.Main())
		}
	}
	os.Exit(m.Run())
}

type bench struct {
	*testing.T
	*netns.Provider
	holder *holder.Client
	dir    string
	kinds  *vendors.Registry
}

func newBench(t *testing.T, rootless bool) *bench {
	t.Helper()
	if !rootless && os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if a := holder.Probe(rootless); !a.OK {
		t.Skip(a.Reason)
	}
	dir := t.TempDir()
	h, err := holder.Ensure(t.Context(), holder.Config{Dir: filepath.Join(dir, "run"), Rootless: rootless})
	if err != nil {
		t.Fatal(err)
	}
	p, err := netns.New(netns.Config{Holder: h, Rootless: rootless, Labs: filepath.Join(dir, "labs")})
	if err != nil {
		t.Fatal(err)
	}
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(h.PID()) // a handle: the number may be another's one day
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, Provider: p, holder: h, dir: dir, kinds: kinds}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		list, _ := p.List(ctx, "")
		for _, n := range list {
			if err := p.Remove(ctx, n.Ref); err != nil {
				t.Error(err)
			}
		}
		_ = p.Close()
		_ = process.Kill()
		if err := h.Wait(ctx); err != nil {
			t.Error("the holder did not end: ", err)
		}
	})
	return b
}

// both runs a test as root and rootless.
func both(t *testing.T, f func(b *bench)) {
	for name, rootless := range map[string]bool{"rootful": false, "rootless": true} {
		t.Run(name, func(t *testing.T) { f(newBench(t, rootless)) })
	}
}

func (b *bench) config(name string, change func(*backends.NodeConfig)) backends.NodeConfig {
	kind, ok := b.kinds.Kind("linux")
	if !ok {
		b.Fatal("no kind linux")
	}
	c := backends.NodeConfig{Ref: backends.NodeRef{Lab: "t", Node: name}, Kind: kind,
		Node: lab.Node{Name: name, Kind: "linux"}, Hosts: "10.0.0.1\tn1\n10.0.0.2\tn2\n", Labels: map[string]string{"x": name}}
	if change != nil {
		change(&c)
	}
	return c
}

// run makes and starts a node and waits until it is ready.
func (b *bench) run(name string, change func(*backends.NodeConfig)) backends.NodeRef {
	b.Helper()
	c := b.config(name, change)
	if err := b.Create(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	if err := b.Start(b.Context(), c.Ref); err != nil {
		b.Fatal(err)
	}
	b.said(c.Ref, "archetype-init: ready")
	return c.Ref
}

// said waits until the node's log of this boot has the line.
func (b *bench) said(ref backends.NodeRef, line string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	r, err := b.Logs(ctx, ref, backends.LogOptions{Follow: true, Boot: true})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var all strings.Builder
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		all.WriteString(sc.Text() + "\n")
		if strings.Contains(sc.Text(), line) {
			return
		}
	}
	b.Fatalf("%s never said %q; it said\n%s", ref, line, all.String())
}

func (b *bench) exec(ref backends.NodeRef, argv ...string) string {
	b.Helper()
	r, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: argv})
	if err != nil {
		b.Fatal(err)
	}
	if r.Code != 0 {
		b.Fatalf("%v: code %d: %s%s", argv, r.Code, r.Stdout, r.Stderr)
	}
	return string(r.Stdout)
}

func TestNodeIsAWorldOfItsOwn(t *testing.T) {
	both(t, func(b *bench) {
		n1, n2 := b.run("n1", nil), b.run("n2", nil)
		if got := b.exec(n1, "hostname"); got != "n1\n" {
			b.Errorf("hostname %q", got)
		}
		if got := b.exec(n1, "cat", "/etc/hosts"); !strings.Contains(got, "10.0.0.2\tn2") {
			b.Errorf("hosts %q", got)
		}
		if got := strings.TrimSpace(b.exec(n1, "sh", "-c", "ls /proc | grep -c '^[0-9]'")); got != "4" && got != "3" {
			b.Errorf("sees %s processes: its init, the shell, ls and grep are all there should be", got)
		}
		if got := b.exec(n1, "cat", "/proc/net/dev"); strings.Count(got, "\n") != 3 || !strings.Contains(got, "lo:") {
			b.Errorf("interfaces\n%s", got)
		}
		// It may change what it likes, and nobody else sees it.
		b.exec(n1, "sh", "-c", "echo mine >/etc/motd && echo mine >/var/x && echo mine >/root/x && echo mine >/tmp/x && mkdir -p /etc/a/b")
		if got := b.exec(n1, "cat", "/etc/motd", "/var/x", "/root/x", "/tmp/x"); got != "mine\nmine\nmine\nmine\n" {
			b.Errorf("read back %q", got)
		}
		if r, err := b.Exec(b.Context(), n2, backends.ExecRequest{Command: []string{"cat", "/var/x", "/root/x", "/tmp/x"}}); err != nil || len(r.Stdout) > 0 {
			b.Errorf("the other node sees %q %v", r.Stdout, err)
		}
		if _, err := os.Stat("/var/x"); err == nil {
			b.Error("the machine sees the node's file")
		}
		if r, err := b.Exec(b.Context(), n1, backends.ExecRequest{Command: []string{"sh", "-c", "echo no >/usr/bin/archetype-test"}}); err != nil || r.Code == 0 {
			b.Errorf("a node may write into the machine's /usr: %v %v", r, err)
		}
	})
}

func TestExec(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		r, err := b.Exec(b.Context(), n, backends.ExecRequest{
			Command: []string{"sh", "-c", "cat; echo $WHO >&2; pwd; exit 7"}, Env: []string{"WHO=me"}, Dir: "/etc",
			Stdin: strings.NewReader("from outside\n"),
		})
		if err != nil || r.Code != 7 || string(r.Stdout) != "from outside\n/etc\n" || string(r.Stderr) != "me\n" {
			b.Errorf("%q %q %d %v", r.Stdout, r.Stderr, r.Code, err)
		}
		if _, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"no-such-program"}}); err == nil || !strings.Contains(err.Error(), "no such program") {
			b.Errorf("missing program: %v", err)
		}
		big, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"sh", "-c", "head -c 3000000 /dev/zero"}})
		if err != nil || len(big.Stdout) != 3000000 {
			b.Errorf("%d bytes, %v", len(big.Stdout), err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := b.Exec(ctx, n, backends.ExecRequest{Command: []string{"sleep", "1000"}}); !errors.Is(err, context.Canceled) {
			b.Errorf("cancelled: %v", err)
		}
		if err := b.Stop(b.Context(), n, time.Second); err != nil {
			b.Fatal(err)
		}
		if _, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"true"}}); !errors.Is(err, backends.ErrNotFound) {
			b.Errorf("in a stopped node: %v", err)
		}
	})
}

func TestConsole(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		c, err := b.Console(b.Context(), n, backends.Size{Cols: 100, Rows: 30})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		var seen bytes.Buffer
		expect := func(text string) {
			b.Helper()
			buf := make([]byte, 1024)
			for !strings.Contains(seen.String(), text) {
				k, err := c.Read(buf)
				if err != nil {
					b.Fatalf("waiting for %q: %v; seen %q", text, err, seen.String())
				}
				seen.Write(buf[:k])
			}
			seen.Next(strings.Index(seen.String(), text) + len(text)) // more may have come with it
		}
		_, _ = io.WriteString(c, "stty size\n")
		expect("30 100")
		if err := c.Resize(backends.Size{Cols: 77, Rows: 22}); err != nil {
			b.Fatal(err)
		}
		_, _ = io.WriteString(c, "stty size; tty\n")
		expect("22 77")
		expect("/dev/pts/")
		_, _ = io.WriteString(c, "exit\n")
		for {
			if _, err := c.Read(make([]byte, 1024)); err != nil {
				if !errors.Is(err, io.EOF) {
					b.Errorf("end of console: %v", err)
				}
				break
			}
		}
	})
}

func TestBindsEnvironmentExecAndEntrypoint(t *testing.T) {
	both(t, func(b *bench) {
		dir := b.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte("outside\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		n := b.run("n1", func(c *backends.NodeConfig) {
			c.Node.Binds = []string{dir + ":/mnt/d", filepath.Join(dir, "f") + ":/etc/deep/f:ro"}
			c.Node.Env = map[string]string{"COLOUR": "blue"}
			c.Node.Exec = []string{"echo exec sees $COLOUR", "false"}
			c.Node.Entrypoint, c.Node.Cmd = "/bin/sh", `-c 'echo entry sees $COLOUR; sleep 1000'`
			c.Node.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		})
		b.said(n, "exec sees blue")
		b.said(n, "entry sees blue")
		b.said(n, "exec failed: false: exit code 1")
		if got := b.exec(n, "sh", "-c", "echo inside >/mnt/d/g; cat /etc/deep/f; cat /proc/sys/net/ipv4/ip_forward"); got != "outside\n1\n" {
			b.Errorf("%q", got)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "g")); string(got) != "inside\n" {
			b.Errorf("through a bind: %q", got)
		}
		if r, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"sh", "-c", "echo no >/etc/deep/f"}}); err != nil || r.Code == 0 {
			b.Errorf("a read-only bind was written: %v", err)
		}
	})
}

func TestStats(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", func(c *backends.NodeConfig) { c.Node.Cmd = "sleep 1000" })
		s, err := b.Stats(b.Context(), "t")
		if err != nil || len(s) != 1 || s[0].Ref != n || s[0].Processes != 2 || s[0].Memory < 1<<20 {
			b.Errorf("%+v %v", s, err)
		}
	})
}

func TestMissingProgramIsNamed(t *testing.T) {
	b := newBench(t, true)
	c := b.config("n1", nil)
	k := *c.Kind
	k.Name = "odd"
	k.Embedded.Needs = []vendors.Need{{Path: "no-such-daemon", Package: "odd-routing"}}
	c.Kind = &k
	err := b.Create(b.Context(), c)
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "no-such-daemon") || !strings.Contains(err.Error(), "odd-routing") {
		b.Errorf("%v", err)
	}
}
