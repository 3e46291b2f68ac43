package ovs_test

import (
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/backends/network/ovs"
	"archetype/internal/nstest"
	"archetype/lab"
)

// news waits for an event of a link that is as asked.
func (b *bench) news(events <-chan backends.LinkStatus, what string, l backends.Link, ok func(backends.LinkStatus) bool) {
	b.t.Helper()
	late := time.After(time.Minute)
	var last backends.LinkStatus
	for {
		select {
		case st, open := <-events:
			if !open {
				b.t.Fatalf("%s: the events ended", what)
			}
			if st.ID != l.ID() {
				continue
			}
			if last = st; ok(st) {
				return
			}
		case <-late:
			b.t.Fatalf("%s: no event; the last one was %+v", what, last)
		}
	}
}

func (b *bench) events() <-chan backends.LinkStatus {
	b.t.Helper()
	ch, err := b.Events(b.t.Context())
	b.must(err)
	return ch
}

func whole(st backends.LinkStatus) bool {
	return st.Connected && st.Carrier == lab.CarrierOn && !st.Gone && st.VLAN > 0
}
func apart(st backends.LinkStatus) bool { return !st.Connected }

// portOf is the name that the switch has for an end.
func (b *bench) portOf(p backends.Port) string {
	b.t.Helper()
	return b.sw.Ctl("--bare", "--columns=name", "find", "Port", `external_ids:archetype-end="`+p.End.String()+`"`)
}

// What others do to our ports, bridge and interfaces is told at once while we
// run, is seen by the first look when we did not, and is set right by connecting.
func TestBehindOurBack(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	ev := b.events()
	b.must(b.Connect(t.Context(), l))
	b.news(ev, "connected", l, whole)
	for what, harm := range map[string]func(){
		"del-port":         func() { b.sw.Ctl("del-port", b.portOf(l.A)) },
		"set tag":          func() { b.sw.Ctl("set", "Port", b.portOf(l.B), "tag=4000") },
		"clear tag":        func() { b.sw.Ctl("clear", "Port", b.portOf(l.A), "tag") },
		"del-br":           func() { b.sw.Ctl("del-br", "arch0") },
		"link down":        func() { b.atSwitch(func(ns *nsnet.NS) { b.must(carrier(ns, b.portOf(l.A), false)) }) },
		"link del":         func() { name := b.portOf(l.B); b.atSwitch(func(ns *nsnet.NS) { b.must(ns.Delete(name)) }) },
		"link del in node": func() { b.must(b.node("a").Delete("eth1")) },
	} {
		harm()
		b.news(ev, what, l, apart)
		if st, err := b.State(t.Context(), l); err == nil && st.Connected {
			t.Errorf("%s: %+v", what, st)
		}
		b.must(b.Connect(t.Context(), l))
		b.news(ev, what+" put right", l, whole)
		b.talks(l)

		_ = b.Close()
		harm()
		b.Network = b.sw.Network(ovs.Config{})
		if st, err := b.State(t.Context(), l); err == nil && st.Connected {
			t.Errorf("%s while nobody looked: %+v", what, st)
		}
		ev = b.events()
		b.must(b.Connect(t.Context(), l))
		b.news(ev, what+" put right by another program", l, whole)
		b.talks(l)
	}
}

// A switch and a database that were away while no program of ours ran bring
// back what there was.
func TestSwitchRestartsUnwatched(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	cut := b.cable("a:eth2", "c:eth1")
	b.must(b.Connect(t.Context(), l))
	b.must(b.Connect(t.Context(), cut))
	b.must(b.Disconnect(t.Context(), cut))
	before := b.state(l)
	_ = b.Close()
	b.sw.Kill("ovs-vswitchd")
	b.sw.Kill("ovsdb-server")
	b.Network = b.sw.Network(ovs.Config{})
	if st, err := b.State(t.Context(), l); err == nil && st.Connected {
		t.Errorf("without a switch: %+v", st)
	}
	b.sw.StartDatabase()
	b.sw.StartSwitch()
	ev := b.events()
	nstest.Until(t, "the link is as it was", func() bool {
		st, err := b.State(t.Context(), l)
		return err == nil && st == before
	})
	b.news(ev, "back", l, whole)
	b.talks(l)
	if st := b.state(cut); !st.Cut {
		t.Errorf("it was cut: %+v", st)
	}
}

// A switch that ends takes its links along; one that comes back brings them.
func TestSwitchRestarts(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	cut := b.cable("a:eth2", "c:eth1")
	ev := b.events()
	b.must(b.Connect(t.Context(), l))
	b.must(b.Connect(t.Context(), cut))
	b.must(b.Disconnect(t.Context(), cut))
	tag := b.state(l).VLAN
	b.sw.Kill("ovs-vswitchd")
	b.news(ev, "ovs-vswitchd ends", l, apart)
	if err := b.Connect(t.Context(), b.cable("a:eth3", "c:eth3")); err == nil {
		t.Error("connected without a switch")
	}
	if a := b.Available(t.Context()); a.OK || a.Fix == "" {
		t.Errorf("available without ovs-vswitchd: %+v", a)
	}
	b.sw.StartSwitch()
	b.news(ev, "ovs-vswitchd is back", l, whole)
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
	if st := b.state(l); st.VLAN != tag {
		t.Errorf("tag %d became %d", tag, st.VLAN)
	}
	if st := b.state(cut); st.Connected || st.Carrier != lab.CarrierOff {
		t.Errorf("the restart joined a link that was cut: %+v", st)
	}
}

// The database's server ends, and with it a switch in user space stands still.
// It is started again, and what changes then is noticed.
func TestDatabaseRestarts(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	ev := b.events()
	b.must(b.Connect(t.Context(), l))
	b.news(ev, "connected", l, whole)
	b.sw.Kill("ovsdb-server")
	b.news(ev, "ovsdb-server ends", l, apart)
	if a := b.Available(t.Context()); a.OK || a.Fix == "" {
		t.Errorf("available without ovsdb-server: %+v", a)
	}
	b.sw.StartDatabase()
	b.news(ev, "ovsdb-server is back", l, whole)
	b.talks(l)
	b.must(b.Connect(t.Context(), b.cable("a:eth2", "c:eth1")))
	b.sw.Ctl("del-port", b.portOf(l.A))
	b.news(ev, "del-port after the restart", l, apart)
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
}

// Another process of ours takes over what an earlier one made.
func TestRecovery(t *testing.T) {
	b := newBench(t, ovs.Config{Instance: "one"})
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	b.must(b.Provision(t.Context(), b.port("c:eth1")))
	before := b.state(l)
	ports := b.sw.Ctl("list-ports", "arch0")
	_ = b.Close()
	b.Network = b.sw.Network(ovs.Config{Instance: "one"})
	if st := b.state(l); st != before || !st.Connected {
		t.Errorf("%+v became %+v", before, st)
	}
	ev := b.events()
	b.must(b.Connect(t.Context(), l))
	b.must(b.Provision(t.Context(), b.port("c:eth1")))
	if after := b.sw.Ctl("list-ports", "arch0"); after != ports {
		t.Errorf("ports\n%s\nbecame\n%s", ports, after)
	}
	next := b.cable("a:eth2", "b:eth2")
	b.must(b.Connect(t.Context(), next))
	if st := b.state(next); st.VLAN == before.VLAN {
		t.Errorf("tag %d was handed out twice", st.VLAN)
	}
	b.silent(l.A, next.B)
	b.sw.Ctl("del-port", b.portOf(l.A))
	b.news(ev, "del-port", l, apart)
}
