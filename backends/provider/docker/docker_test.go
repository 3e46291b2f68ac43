package docker_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/docker/dockertest"
)

func cmd(line string) func(*backends.NodeConfig) {
	return func(c *backends.NodeConfig) { c.Node.Cmd = "sh -c '" + line + "'" }
}

func TestLife(t *testing.T) {
	b := newBench(t)
	c := b.config("a", cmd("echo up; exec sleep 1000"))
	ref := b.create(c)
	if err := b.Create(b.Context(), c); err != nil {
		t.Fatal("again: ", err)
	}
	st, ok := b.status(ref)
	if !ok || st.Running || st.Boot != 0 || st.Labels["archetype.spec"] != "x" {
		t.Errorf("created: %v %+v", ok, st)
	}
	b.start(ref)
	b.start(ref) // again
	b.said(ref, backends.LogOptions{}, "up")
	first, _ := b.status(ref)
	if !first.Running || first.PID == 0 || first.Boot == 0 || first.Started.IsZero() || first.Identifier != named(ref) {
		t.Errorf("started: %+v", first)
	}
	if init := strings.TrimSpace(b.must(ref, "tr '\\0' ' ' < /proc/1/cmdline")); init != "sleep 1000" {
		t.Errorf("its init is %q", init)
	}
	b.must(ref, "echo kept > /kept")
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		t.Fatal(err)
	}
	st, _ = b.status(ref)
	if st.Running || st.ExitReason != "" {
		t.Errorf("stopped as asked: %+v", st)
	}
	if _, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"true"}}); err == nil {
		t.Error("a command ran in a stopped node")
	}
	if err := b.Create(b.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.start(ref)
	st, _ = b.status(ref)
	if !st.Running || st.Boot <= first.Boot {
		t.Errorf("second boot: %+v", st)
	}
	if got := strings.TrimSpace(b.must(ref, "cat /kept")); got != "kept" {
		t.Errorf("a restart lost what was in the node: %q", got)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		t.Fatal("again: ", err)
	}
	if _, ok := b.status(ref); ok {
		t.Error("it still exists")
	}
	if _, err := b.Attachment(b.Context(), ref, "eth1"); !errors.Is(err, backends.ErrNotFound) {
		t.Error("attachment of a removed node: ", err)
	}
}

func TestAnotherConfigurationTakesEffectAtTheNextStart(t *testing.T) {
	b := newBench(t)
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	changed := b.config("a", func(c *backends.NodeConfig) { cmd("exec sleep 2000")(c); c.Node.Env = map[string]string{"X": "y"} })
	if err := b.Create(b.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if got := b.must(ref, "echo $X"); strings.TrimSpace(got) != "" {
		t.Error("a running node was changed")
	}
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		t.Fatal(err)
	}
	b.run(changed)
	if got := strings.TrimSpace(b.must(ref, "echo $X; tr '\\0' ' ' < /proc/1/cmdline")); got != "y\nsleep 2000" {
		t.Errorf("the new configuration: %q", got)
	}
}

// needsInterfaces is the init of a stand-in device that does not boot when an
// interface is missing at its first instruction.
const needsInterfaces = `#!/bin/sh
for i in eth1 eth2; do
	[ -e /sys/class/net/$i ] || { echo "no $i: dead"; exit 3; }
done
ip -o addr show eth1 | grep -q 10.0.0.1/24 || { echo "no address: dead"; exit 4; }
echo booted with all interfaces
exec sleep 1000
`

func (b *bench) strict() {
	b.Helper()
	if err := b.d.Import(b.Context(), "strict:1", map[string]string{"/sbin/boot": needsInterfaces}, `ENTRYPOINT ["/sbin/boot"]`); err != nil {
		b.Fatal(err)
	}
}

// strictPair is a strict device with two cables to a plain one.
func (b *bench) strictPair() (dev, peer backends.NodeRef) {
	b.Helper()
	b.strict()
	x := addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "eth1", "10.0.0.1/24", "fd00::1/64")
	y := addressed(b.config("peer", cmd("exec sleep 1000"), "eth1", "eth2"), "eth1", "10.0.0.2/24", "fd00::2/64")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	b.cable(x, y, "eth2")
	b.start(x.Ref)
	b.start(y.Ref)
	return x.Ref, y.Ref
}

// booted waits until a strict device has booted once more and reaches its peer.
func (b *bench) booted(dev, peer backends.NodeRef) {
	b.Helper()
	b.said(dev, backends.LogOptions{Boot: true}, "booted with all interfaces")
	b.must(dev, "ping -c1 -W5 10.0.0.2 && ping -6 -c1 -W5 fd00::2")
	b.must(peer, "ping -c1 -W5 10.0.0.1")
}

func TestInterfacesAreThereBeforeTheInitAndOnEveryRestart(t *testing.T) {
	b := newBench(t)
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	index := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address")
	for range 2 {
		if err := b.Stop(b.Context(), dev, 0); err != nil {
			t.Fatal(err)
		}
		if got := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address"); got != index {
			t.Error("the peer lost its own end")
		}
		b.start(dev)
		b.booted(dev, peer)
	}
	if got := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address"); got != index {
		t.Error("the peer got another interface")
	}
}

func TestRestartBehindOurBackKeepsLinks(t *testing.T) {
	b := newBench(t)
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	before, _ := b.status(dev)
	none := 0
	if _, err := b.cli.ContainerRestart(b.Context(), named(dev), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		t.Fatal(err)
	}
	b.event("started again", dev, func(st backends.NodeStatus) bool { return st.Running && st.Boot > before.Boot })
	b.booted(dev, peer)
}

func TestKilledAndStartedBehindOurBack(t *testing.T) {
	b := newBench(t)
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	if _, err := b.cli.ContainerKill(b.Context(), named(dev), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	st := b.event("its end", dev, func(st backends.NodeStatus) bool { return !st.Running && !st.Gone })
	if !strings.Contains(st.ExitReason, "signal 9") {
		t.Errorf("why it ended: %q", st.ExitReason)
	}
	if _, err := b.cli.ContainerStart(b.Context(), named(dev), client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	b.booted(dev, peer)
}

func TestRemovedBehindOurBack(t *testing.T) {
	b := newBench(t)
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	was, _ := b.status(dev)
	if _, err := b.cli.ContainerRemove(b.Context(), named(dev), client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	st := b.event("gone", dev, func(st backends.NodeStatus) bool { return st.Gone })
	if st.Boot < was.Boot {
		t.Errorf("the news is older than the node: %d < %d", st.Boot, was.Boot)
	}
	if err := b.Start(b.Context(), dev); !errors.Is(err, backends.ErrNotFound) {
		t.Error("start of what is gone: ", err)
	}
	// Made again, it finds its cables where they were.
	b.run(addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "eth1", "10.0.0.1/24", "fd00::1/64"))
	b.booted(dev, peer)
}

func TestAContainerThatStartsWhileNobodyServesWaits(t *testing.T) {
	b := newBench(t)
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	if err := b.Close(); err != nil { // as an engine that ends
		t.Fatal(err)
	}
	cli, err := client.New(client.WithHost(b.d.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	none := 0
	if _, err := cli.ContainerRestart(b.Context(), named(dev), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		t.Fatal(err)
	}
	b.Provider = dockertest.Again(t, b.Provider)
	if _, ok := b.status(dev); !ok {
		t.Fatal("the next provider does not find it")
	}
	b.booted(dev, peer)
}

func TestALateInterfaceIsWaitedForBehindOurBack(t *testing.T) {
	b := newBench(t)
	b.strict()
	x := addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "eth1", "10.0.0.1/24")
	y := addressed(b.config("peer", cmd("exec sleep 1000"), "eth1", "eth2"), "eth1", "10.0.0.2/24")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	if _, err := b.cli.ContainerStart(b.Context(), named(x.Ref), client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	b.event("started", x.Ref, func(st backends.NodeStatus) bool { return st.Running })
	b.cable(x, y, "eth2")
	b.said(x.Ref, backends.LogOptions{}, "booted with all interfaces")
}

func TestForeignContainersAreNotTouched(t *testing.T) {
	b := newBench(t)
	c := b.config("a", nil)
	res, err := b.cli.ContainerCreate(b.Context(), client.ContainerCreateOptions{Name: named(c.Ref), Config: &container.Config{Image: dockertest.Image}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = b.cli.ContainerRemove(context.Background(), res.ID, client.ContainerRemoveOptions{Force: true})
	})
	if err := b.Create(b.Context(), c); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "docker rm -f clab-t-a") {
		t.Error(err)
	}
	if err := b.Remove(b.Context(), c.Ref); err != nil {
		t.Error(err)
	}
	if _, err := b.cli.ContainerInspect(b.Context(), res.ID, client.ContainerInspectOptions{}); err != nil {
		t.Error("the foreign container was touched: ", err)
	}
}

func TestMissingImage(t *testing.T) {
	b := newBench(t)
	for policy, want := range map[string]string{"": "cannot be pulled", "Never": "image-pull-policy is Never"} {
		c := b.config("a", func(c *backends.NodeConfig) {
			c.Node.Image, c.Node.Container.PullPolicy = "127.0.0.1:1/none:1", policy
		})
		err := b.Create(b.Context(), c)
		if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "127.0.0.1:1/none:1") {
			t.Errorf("policy %q: %v", policy, err)
		}
	}
}

func TestKindsAreToldOfTheirInterfaces(t *testing.T) {
	b := newBench(t)
	change := func(c *backends.NodeConfig) { cmd("exec sleep 1000")(c) }
	xrd := b.create(b.kindConfig("cisco_xrd", "x", change, "Gi0-0-0-0", "Gi0-0-0-1"))
	ceos := b.create(b.kindConfig("ceos", "c", change, "eth1", "eth2"))
	for ref, want := range map[backends.NodeRef]string{
		xrd:  "XR_INTERFACES=linux:Gi0-0-0-0,xr_name=Gi0/0/0/0;linux:Gi0-0-0-1,xr_name=Gi0/0/0/1",
		ceos: "CLAB_INTFS=2",
	} {
		res, err := b.cli.ContainerInspect(b.Context(), named(ref), client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(res.Container.Config.Env, want) {
			t.Errorf("%s lacks %s in %q", ref, want, res.Container.Config.Env)
		}
	}
}

func TestExec(t *testing.T) {
	b := newBench(t)
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	res, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"sh", "-c", "cat; echo $X >&2; pwd; exit 7"},
		Stdin: strings.NewReader("in"), Env: []string{"X=err"}, Dir: "/tmp"})
	if err != nil {
		t.Fatal(err)
	}
	if res.Code != 7 || string(res.Stdout) != "in/tmp\n" || string(res.Stderr) != "err\n" {
		t.Errorf("%d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	if res, err = b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"id", "-u"}, User: "user"}); err != nil || string(res.Stdout) != "1000\n" {
		t.Errorf("as another user: %q %v", res.Stdout, err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.Exec(ctx, ref, backends.ExecRequest{Command: []string{"sh", "-c", "echo on; sleep 1000"}, Stdout: w})
		done <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error("cancelled: ", err)
	}
}

func TestConsole(t *testing.T) {
	b := newBench(t)
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	con, err := b.Console(b.Context(), ref, backends.Size{Cols: 77, Rows: 11})
	if err != nil {
		t.Fatal(err)
	}
	defer con.Close()
	var got strings.Builder
	read := func(until string) {
		t.Helper()
		defer time.AfterFunc(short, func() { _ = con.Close() }).Stop()
		buf := make([]byte, 1024)
		for !strings.Contains(got.String(), until) {
			n, err := con.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				t.Fatalf("%v; it said %q", err, got.String())
			}
		}
	}
	write := func(s string) {
		t.Helper()
		if _, err := con.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write("stty size\n")
	read("11 77")
	if err := con.Resize(backends.Size{Cols: 99, Rows: 33}); err != nil {
		t.Fatal(err)
	}
	write("stty size\n")
	read("33 99")
	write("exit\n")
	for {
		if _, err := con.Read(make([]byte, 1024)); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error("its end: ", err)
			}
			return
		}
	}
}

func TestLogsFollowOverRestarts(t *testing.T) {
	b := newBench(t)
	ref := b.run(b.config("a", cmd("echo boot; exec sleep 1000")))
	r, err := b.Logs(b.Context(), ref, backends.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines := func(n int) {
		t.Helper()
		defer time.AfterFunc(short, func() { _ = r.Close() }).Stop()
		want := strings.Repeat("boot\n", n)
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
			t.Fatalf("%q %v", buf, err)
		}
	}
	lines(1)
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		t.Fatal(err)
	}
	b.start(ref)
	lines(1)
	last, err := b.Logs(b.Context(), ref, backends.LogOptions{Lines: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if all, err := io.ReadAll(last); err != nil || string(all) != "boot\n" {
		t.Errorf("the last line: %q %v", all, err)
	}
}

func TestStats(t *testing.T) {
	b := newBench(t)
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	list, err := b.Stats(b.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Ref != ref || list[0].CPU == 0 || list[0].Processes == 0 {
		t.Errorf("%+v", list)
	}
}

func TestEverythingIsGoneAfterwards(t *testing.T) {
	before := mounts(t)
	b := newBench(t)
	dev, peer := b.strictPair()
	for _, ref := range []backends.NodeRef{dev, peer} {
		if err := b.Remove(b.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if now := mounts(t); now != before {
		t.Errorf("namespaces held:\n%s\nbefore:\n%s", now, before)
	}
}

// mounts lists the namespaces that are held by a mount of a provider's.
func mounts(t *testing.T) string {
	t.Helper()
	all, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(all)) {
		if strings.HasPrefix(line, "nsfs ") && strings.Contains(line, "/run/t/") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
