package libvirt_test

import (
	"bufio"
	"context"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/libvirt"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/lab"
	"archetype/vendors"
)

const patience = 5 * time.Minute // emulated machines starve where much else runs

// bench is a provider with nodes that go with the test.
type bench struct {
	*testing.T
	*libvirt.Provider
	d *libvirttest.Daemon
}

func newBench(t *testing.T) *bench {
	d := libvirttest.Start(t)
	p := d.Provider()
	if a := p.Available(t.Context()); !a.OK {
		t.Skip(a.Reason)
	}
	return &bench{t, p, d}
}

func (b *bench) node(kind *vendors.Kind, name string, ends ...lab.End) backends.NodeRef {
	b.Helper()
	ref := backends.NodeRef{Lab: "lab", Node: name}
	c := backends.NodeConfig{Ref: ref, Node: lab.Node{Name: name, Kind: kind.Name}, Kind: b.Adapt(kind), Labels: map[string]string{"who": name}, Ends: ends}
	for _, e := range ends {
		c.Interfaces = append(c.Interfaces, e.Interface)
	}
	b.must(b.Create(b.Context(), c))
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Remove(ctx, ref); err != nil {
			b.Error(err)
		}
	})
	return ref
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// up starts a node and waits until it says so.
func (b *bench) up(ref backends.NodeRef) {
	b.Helper()
	b.must(b.Start(b.Context(), ref))
	b.says(ref, "guest: up")
}

// says waits for a line in the record of this boot.
func (b *bench) says(ref backends.NodeRef, want string) {
	b.Helper()
	b.said(ref, want)
}

// said is the record of this boot up to a line.
func (b *bench) said(ref backends.NodeRef, want string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	r, err := b.Logs(ctx, ref, backends.LogOptions{Follow: true, Boot: true})
	b.must(err)
	defer func() { _ = r.Close() }()
	var all []string
	for s := bufio.NewScanner(r); s.Scan(); {
		all = append(all, s.Text())
		if strings.Contains(s.Text(), want) {
			return strings.Join(all, "\n")
		}
	}
	b.Fatalf("%s never said %q, but\n%s", ref, want, strings.Join(all, "\n"))
	return ""
}

func (b *bench) exec(ref backends.NodeRef, words ...string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	res, err := b.Exec(ctx, ref, backends.ExecRequest{Command: words})
	b.must(err)
	if res.Code != 0 {
		b.Fatalf("%s in %s: exit code %d: %s", strings.Join(words, " "), ref, res.Code, res.Stdout)
	}
	return string(res.Stdout)
}
