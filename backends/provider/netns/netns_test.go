package netns_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

func TestRestartKeepsNamespaceAndLogsGoOn(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		at, err := b.Attachment(b.Context(), n, "eth1")
		if err != nil {
			b.Fatal(err)
		}
		logs, err := b.Logs(b.Context(), n, backends.LogOptions{Follow: true})
		if err != nil {
			b.Fatal(err)
		}
		defer logs.Close()
		events, err := b.Events(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		before := b.exec(n, "readlink", "/proc/self/ns/net")
		b.exec(n, "sh", "-c", "echo kept >/root/kept")
		if err := b.Stop(b.Context(), n, 5*time.Second); err != nil {
			b.Fatal(err)
		}
		if st := <-events; st.Running || st.ExitReason != "" || st.Ref != n {
			b.Errorf("after a stop: %+v", st)
		}
		if err := b.Stop(b.Context(), n, 5*time.Second); err != nil { // again is no error
			b.Fatal(err)
		}
		list, err := b.List(b.Context(), "t")
		if err != nil || len(list) != 1 || list[0].Running || list[0].Labels["x"] != "n1" {
			b.Errorf("%+v %v", list, err)
		}
		b.run("n1", nil)
		if st := <-events; !st.Running || st.Boot <= list[0].Boot {
			b.Errorf("after a start: %+v", st)
		}
		if after := b.exec(n, "readlink", "/proc/self/ns/net"); after != before {
			b.Errorf("namespace %s became %s", before, after)
		}
		if again, _ := b.Attachment(b.Context(), n, "eth1"); again != at {
			b.Errorf("attachment %v became %v", at, again)
		}
		if got := b.exec(n, "cat", "/root/kept"); got != "kept\n" {
			b.Errorf("home is lost: %q", got)
		}
		readies := 0
		for sc := bufio.NewScanner(logs); readies < 2 && sc.Scan(); {
			if strings.Contains(sc.Text(), "archetype-init: ready") {
				readies++
			}
		}
		if readies != 2 {
			b.Errorf("saw %d boots in the log", readies)
		}
	})
}

func TestKilledInitIsTold(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		events, err := b.Events(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		list, _ := b.List(b.Context(), "t")
		if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if st := <-events; st.Running || !strings.Contains(st.ExitReason, "SIGKILL") || st.Ref != n {
			b.Errorf("%+v", st)
		}
	})
}

// A node whose init a signal has stopped is found so, and goes on when mended.
func TestStoppedBySignal(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		look := func() backends.NodeStatus {
			list, err := b.List(b.Context(), "t")
			if err != nil || len(list) != 1 {
				b.Fatalf("%+v, %v", list, err)
			}
			return list[0]
		}
		was := look()
		if err := syscall.Kill(was.PID, syscall.SIGSTOP); err != nil {
			b.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); !look().Paused; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatal("nobody sees that it is stopped")
			}
		}
		if err := b.Mend(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		if out := b.exec(n, "echo", "here"); out != "here\n" {
			b.Errorf("it says %q", out)
		}
		if st := look(); st.Paused || st.PID != was.PID || st.Boot != was.Boot {
			b.Errorf("mended it is %+v and was %+v", st, was)
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
		b.said(n, "exec failed (code 1): false")
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

// Fifty nodes at once, and nothing of them left afterwards.
func TestManyNodesLeaveNothing(t *testing.T) {
	both(t, func(b *bench) {
		mounts := b.mounts()
		const many = 50
		errs := make(chan error, many)
		for i := range many {
			go func() {
				c := b.config("n"+strconv.Itoa(i), nil)
				errs <- errors.Join(b.Create(b.Context(), c), b.Start(b.Context(), c.Ref))
			}()
		}
		for range many {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		list, err := b.List(b.Context(), "t")
		if err != nil || len(list) != many {
			b.Fatalf("%d nodes, %v", len(list), err)
		}
		for _, n := range list {
			b.said(n.Ref, "archetype-init: ready")
		}
		for _, n := range list {
			if err := b.Remove(b.Context(), n.Ref); err != nil {
				b.Error(err)
			}
		}
		for _, n := range list {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", n.PID)); err == nil {
				b.Errorf("process %d of %s is still there", n.PID, n.Ref)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(b.dir, "labs", "*")); len(left) > 0 {
			b.Errorf("left: %v", left)
		}
		if now := b.mounts(); now != mounts {
			b.Errorf("mounts before\n%s\nafter\n%s", mounts, now)
		}
	})
}

// mounts are those of the machine that a node could have left. Others come
// and go while other tests run.
func (b *bench) mounts() string {
	b.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		at := fields[1]
		if strings.Count(at, "/") == 1 || strings.HasPrefix(at, "/dev/") || strings.Contains(line, b.dir) {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// Whatever happens to the holder, no node outlives it.
func TestNodesEndWithTheHolder(t *testing.T) {
	both(t, func(b *bench) {
		b.run("n1", nil)
		list, _ := b.List(b.Context(), "t")
		pidfd, _, errno := syscall.Syscall(434 /* pidfd_open */, uintptr(list[0].PID), 0, 0)
		if errno != 0 {
			b.Skip("no pidfd_open: ", errno)
		}
		f := os.NewFile(pidfd, "node")
		defer f.Close()
		if err := syscall.Kill(b.holder.PID(), syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		waitEnd(b.T, f)
	})
}

// A node that has nothing to do is no more than a waiting process, without a
// log's file; it becomes the init when it is used. Its log says each line once,
// whoever reads it and since when.
func TestIdleNodeEndsWhenAskedAndWakesWhenUsed(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		if err := b.Stop(b.Context(), n, time.Hour); err != nil { // nothing is to be waited for
			b.Fatal(err)
		}
		if err := b.Start(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		b.said(n, "archetype-init: ready")
		log := func(opt backends.LogOptions, until string) (out string) {
			r, err := b.Logs(b.Context(), n, opt)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			for sc := bufio.NewScanner(r); sc.Scan() && !strings.Contains(sc.Text(), until); {
				out += strings.TrimPrefix(sc.Text(), "archetype-init: ") + "\n"
			}
			return out
		}
		const boot = "namespaces ready\ninterfaces 0/0\nready\n"
		for _, c := range []struct {
			opt  backends.LogOptions
			want string
		}{{backends.LogOptions{}, boot + boot}, {backends.LogOptions{Boot: true}, boot}, {backends.LogOptions{Lines: 4}, "ready\n" + boot}} {
			if got := log(c.opt, "nothing"); got != c.want {
				b.Errorf("%+v: log of a node that nobody has used: %q", c.opt, got)
			}
		}
		followed := make(chan string)
		go func() { followed <- log(backends.LogOptions{Follow: true}, "stopping") }()
		pid := func() int { st, _ := b.List(b.Context(), "t"); return st[0].PID }
		before := pid()
		res, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"sh", "-c",
			"kill -0 1 && hostname && trap 'exit 7' TERM && kill -TERM $$"}})
		if err != nil || res.Code != 7 || string(res.Stdout) != "n1\n" {
			b.Errorf("%+v, %v: %s", res, err, res.Stderr)
		}
		if pid() != before {
			b.Error("the node's first process is another one")
		}
		if err := b.Stop(b.Context(), n, time.Hour); err != nil {
			b.Fatal(err)
		}
		if got := <-followed; got != boot+boot {
			b.Errorf("followed from before it was used: %q", got)
		}
		if got := log(backends.LogOptions{}, "stopping"); got != boot+boot {
			b.Errorf("log of a node that was used: %q", got)
		}
	})
}
