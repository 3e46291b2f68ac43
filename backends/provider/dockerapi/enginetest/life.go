package enginetest

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/lab"
)

func cmd(line string) func(*backends.NodeConfig) {
	return func(c *backends.NodeConfig) { c.Node.Cmd = "sh -c '" + line + "'" }
}

func life(b *bench) {
	c := b.config("a", cmd("echo up; exec sleep 1000"))
	ref := b.create(c)
	if err := b.Create(b.Context(), c); err != nil {
		b.Fatal("again: ", err)
	}
	st, ok := b.status(ref)
	if !ok || st.Running || st.Boot != 0 || st.Labels["archetype.spec"] != "x" {
		b.Errorf("created: %v %+v", ok, st)
	}
	b.start(ref)
	b.start(ref) // again
	b.said(ref, backends.LogOptions{}, "up")
	first, _ := b.status(ref)
	if !first.Running || first.PID == 0 || first.Boot == 0 || first.Started.IsZero() || first.Identifier != named(ref) {
		b.Errorf("started: %+v", first)
	}
	if init := strings.TrimSpace(b.must(ref, "tr '\\0' ' ' < /proc/1/cmdline")); init != "sleep 1000" {
		b.Errorf("its init is %q", init)
	}
	b.must(ref, "echo kept > /kept")
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		b.Fatal(err)
	}
	st, _ = b.status(ref)
	if st.Running || st.ExitReason != "" {
		b.Errorf("stopped as asked: %+v", st)
	}
	if _, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"true"}}); err == nil {
		b.Error("a command ran in a stopped node")
	}
	if err := b.Create(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	b.start(ref)
	st, _ = b.status(ref)
	if !st.Running || st.Boot <= first.Boot {
		b.Errorf("second boot: %+v", st)
	}
	if got := strings.TrimSpace(b.must(ref, "cat /kept")); got != "kept" {
		b.Errorf("a restart lost what was in the node: %q", got)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Fatal(err)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Fatal("again: ", err)
	}
	if _, ok := b.status(ref); ok {
		b.Error("it still exists")
	}
	if _, err := b.Attachment(b.Context(), ref, "eth1"); !errors.Is(err, backends.ErrNotFound) {
		b.Error("attachment of a removed node: ", err)
	}
}

func anotherConfigurationTakesEffectAtTheNextStart(b *bench) {
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	changed := b.config("a", func(c *backends.NodeConfig) { cmd("exec sleep 2000")(c); c.Node.Env = map[string]string{"X": "y"} })
	if err := b.Create(b.Context(), changed); err != nil {
		b.Fatal(err)
	}
	if got := b.must(ref, "echo $X"); strings.TrimSpace(got) != "" {
		b.Error("a running node was changed")
	}
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		b.Fatal(err)
	}
	b.run(changed)
	if got := strings.TrimSpace(b.must(ref, "echo $X; tr '\\0' ' ' < /proc/1/cmdline")); got != "y\nsleep 2000" {
		b.Errorf("the new configuration: %q", got)
	}
}

func foreignContainersAreNotTouched(b *bench) {
	c := b.managed("a", &lab.Management{Network: "mgmt-" + b.lab}, "", "")
	res, err := b.cli.ContainerCreate(b.Context(), client.ContainerCreateOptions{Name: named(c.Ref), Config: &container.Config{Image: Image}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_, _ = b.cli.ContainerRemove(context.Background(), res.ID, client.ContainerRemoveOptions{Force: true})
	})
	if err := b.Create(b.Context(), c); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), b.d.Name+" rm -f "+named(c.Ref)) {
		b.Error(err)
	}
	if err := b.Remove(b.Context(), c.Ref); err != nil {
		b.Error(err)
	}
	// Its management network was made for nothing, and goes with the lab.
	s, ok := b.Provider.(backends.Sweeper)
	if !ok {
		b.Fatal("nothing is swept")
	}
	for of, want := range map[string]int{"other": 0, c.Ref.Lab: 1} {
		list, err := s.Unused(b.Context(), of)
		if err != nil || len(list) != want {
			b.Errorf("unused of lab %s: %v, %v", of, list, err)
		}
		for _, one := range list {
			if err := s.Sweep(b.Context(), one); err != nil {
				b.Error(err)
			}
		}
	}
	if list, err := s.Unused(b.Context(), c.Ref.Lab); err != nil || len(list) > 0 {
		b.Errorf("left: %v, %v", list, err)
	}
	if _, err := b.cli.ContainerInspect(b.Context(), res.ID, client.ContainerInspectOptions{}); err != nil {
		b.Error("the foreign container was touched: ", err)
	}
}

func everythingIsGoneAfterwards(b *bench) {
	before := mounts(b)
	dev, peer := b.strictPair()
	for _, ref := range []backends.NodeRef{dev, peer} {
		if err := b.Remove(b.Context(), ref); err != nil {
			b.Fatal(err)
		}
	}
	if now := mounts(b); now != before {
		b.Errorf("namespaces held:\n%s\nbefore:\n%s", now, before)
	}
}

// mounts lists the namespaces that are held by a mount of a provider's.
func mounts(b *bench) string {
	b.Helper()
	all, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(all)) {
		if strings.HasPrefix(line, "nsfs ") && strings.Contains(line, "/run/"+b.lab+"/") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
