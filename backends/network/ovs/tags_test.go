package ovs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"archetype/backends"
	"archetype/backends/network/ovs"
)

// tags counts how many ports of a bridge have each tag.
func (b *bench) tags() map[string]int {
	b.t.Helper()
	out := map[string]int{}
	for _, tag := range strings.Fields(b.sw.Ctl("--bare", "--columns=tag", "find", "Port", "tag>0")) {
		out[tag]++
	}
	return out
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t, ovs.Config{})
	other := b.sw.Network(ovs.Config{Instance: "another"}) // on the same bridge
	const many = 40
	var links []backends.Link
	for i := range many {
		links = append(links, b.cable(fmt.Sprintf("a:e%d", i), fmt.Sprintf("b:e%d", i)))
	}
	var wg sync.WaitGroup
	for i, l := range links {
		for range 2 { // each is asked for twice
			wg.Go(func() {
				n := b.Network
				if i%2 == 1 {
					n = other
				}
				if err := n.Connect(context.Background(), l); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	tags := b.tags()
	for tag, ports := range tags {
		if ports != 2 {
			t.Errorf("tag %s has %d ports", tag, ports)
		}
	}
	if len(tags) != many {
		t.Errorf("%d tags for %d links", len(tags), many)
	}
	b.talks(links[0])
	b.talks(links[many-1])
	b.silent(links[0].A, links[1].B)
	b.must(b.Cleanup(t.Context(), labName))
	if left := b.tags(); len(left) != many/2 {
		t.Errorf("the other's links: %d are left of %d", len(left), many/2)
	}
	b.talks(links[1])
	b.must(other.Cleanup(t.Context(), labName))
	if s := b.sw.Ctl("list-br"); s != "" {
		t.Error("left: ", s)
	}
}

// What others have on the switch stays as it is, and their tags are theirs.
func TestForeignPortsStay(t *testing.T) {
	b := newBench(t, ovs.Config{})
	b.sw.Ctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	b.sw.Ctl("add-port", "arch0", "guest", "tag=2", "--", "set", "interface", "guest", "type=internal")
	next := b.cable("a:eth2", "b:eth2")
	b.must(b.Connect(t.Context(), next))
	if st := b.state(next); st.VLAN == 2 || st.VLAN == b.state(l).VLAN {
		t.Errorf("%+v", st)
	}
	b.must(b.Cleanup(t.Context(), labName))
	if got := b.sw.Ctl("list-br") + " " + b.sw.Ctl("list-ports", "arch0"); got != "arch0\ntheirs guest" {
		t.Errorf("left: %q", got)
	}
	b.sw.Ctl("del-br", "arch0", "--", "add-br", "arch0")
	if err := b.Connect(t.Context(), l); !errors.Is(err, backends.ErrConflict) {
		t.Errorf("on a bridge of somebody else's: %v", err)
	}
	if a := b.Available(t.Context()); a.OK || a.Fix == "" {
		t.Errorf("%+v", a)
	}
}

func TestDedicated(t *testing.T) {
	b := newBench(t, ovs.Config{Mode: ovs.Dedicated})
	l := b.cable("a:eth1", "b:eth1")
	other := b.cable("a:eth2", "b:eth2")
	other.Lab, other.A.Lab, other.B.Lab = "second-lab", "second-lab", "second-lab"
	b.must(b.Connect(t.Context(), l))
	b.must(b.Connect(t.Context(), other))
	if n := len(strings.Fields(b.sw.Ctl("list-br"))); n != 2 {
		t.Errorf("%d bridges for two labs", n)
	}
	b.talks(l)
	b.talks(other)
	// The mode is changed while the lab runs.
	_ = b.Close()
	b.Network = b.sw.Network(ovs.Config{})
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
	if got := b.sw.Ctl("list-br"); !strings.HasPrefix(got, "ar") || !strings.Contains(got, "arch0") {
		t.Errorf("bridges: %s", got)
	}
	// A bridge of the earlier mode that has no port any more is known all the same.
	for _, br := range strings.Fields(b.sw.Ctl("list-br")) {
		if br == "arch0" {
			continue
		}
		for _, port := range strings.Fields(b.sw.Ctl("list-ports", br)) {
			b.sw.Ctl("del-port", br, port)
		}
	}
	b.must(b.Cleanup(t.Context(), labName))
	b.must(b.Cleanup(t.Context(), "second-lab"))
	if s := b.sw.Ctl("list-br"); s != "" {
		t.Error("left: ", s)
	}
}

// A provisioned interface has a tag of its own and no carrier, and joins a
// link without being made anew.
func TestProvisioned(t *testing.T) {
	b := newBench(t, ovs.Config{})
	x, y := b.port("a:eth1"), b.port("b:eth1")
	b.must(b.Provision(t.Context(), x))
	b.must(b.Provision(t.Context(), y))
	if tags := b.tags(); len(tags) != 2 {
		t.Errorf("tags %v", tags)
	}
	i, err := b.node("a").LinkByName("eth1")
	b.must(err)
	l := backends.Link{Lab: labName, A: x, B: y}
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
	j, err := b.node("a").LinkByName("eth1")
	b.must(err)
	if i.Attrs().Index != j.Attrs().Index {
		t.Error("the interface was made anew")
	}
	if tags := b.tags(); len(tags) != 1 {
		t.Errorf("tags %v", tags)
	}
	// To another peer, while everything runs.
	moved := backends.Link{Lab: labName, A: x, B: b.port("c:eth1")}
	b.must(b.Connect(t.Context(), moved))
	b.talks(moved)
	b.silent(x, y)
	if st := b.state(l); st.Connected {
		t.Errorf("the old link: %+v", st)
	}
}
