package ovs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
		"set vlan_mode":    func() { b.sw.Ctl("set", "Port", b.portOf(l.A), "vlan_mode=access") },
		"clear marks":      func() { b.sw.Ctl("clear", "Port", b.portOf(l.A), "external_ids") },
		"another bridge":   func() { b.putElsewhere(b.portOf(l.B)) },
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

// putElsewhere moves a port to a bridge of somebody else's.
func (b *bench) putElsewhere(port string) {
	b.t.Helper()
	b.sw.Ctl("--may-exist", "add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev",
		"--", "del-port", port, "--", "add-port", "theirs", port)
}

// What others took our marks from, or put elsewhere, goes with its link or its
// lab all the same.
func TestWhatLostItsMarksIsRemoved(t *testing.T) {
	b := newBench(t, ovs.Config{})
	for what, remove := range map[string]func(backends.Link) error{
		"link": func(l backends.Link) error { return b.DeleteLink(t.Context(), l) },
		"lab":  func(backends.Link) error { return b.Cleanup(t.Context(), labName) },
	} {
		l := b.cable("a:eth1", "b:eth1")
		b.must(b.Connect(t.Context(), l))
		b.putElsewhere(b.portOf(l.B))
		b.sw.Ctl("clear", "Port", b.portOf(l.A), "external_ids")
		b.must(remove(l))
		b.must(b.Cleanup(t.Context(), labName))
		if left := b.sw.Ctl("--bare", "--columns=name", "list", "Port"); left != "theirs" {
			t.Errorf("%s: left: %q", what, left)
		}
	}
}

// A link that the database refuses takes no other along that is asked for with it.
func TestOneThatIsRefused(t *testing.T) {
	b := newBench(t, ovs.Config{})
	bad := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), bad))
	taken := b.portOf(bad.A)
	b.sw.Ctl("del-port", taken, "--", "add-br", "theirs", "--", "add-bond", "theirs", "bond", taken, "other")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Connect(t.Context(), bad); err == nil {
			t.Error("an interface is on two bridges")
		}
	})
	for i := range 20 {
		l := b.cable(fmt.Sprintf("a:e%d", i), fmt.Sprintf("b:e%d", i))
		wg.Go(func() {
			if err := b.Connect(t.Context(), l); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.sw.Ctl("del-br", "theirs")
	b.must(b.Connect(t.Context(), bad))
	b.talks(bad)
}

// Who gives a call up does not wait for a switch that hangs once the records
// say what was asked for; who comes next does.
func TestGivenUpWhileTheSwitchHangs(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	b.sw.Halt("ovs-vswitchd")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Disconnect(ctx, l) }()
	nstest.Until(t, "the records to say that it is cut", func() bool { return len(b.tags()) == 2 })
	select {
	case err := <-ended:
		t.Fatalf("it has not waited for the switch: %v", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if st, err := b.State(t.Context(), l); err != nil || st.Connected {
		t.Errorf("%+v, %v", st, err)
	}
	b.sw.GoOn("ovs-vswitchd")
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
}

// A link leaves a switch that does not run: it reads so when it starts.
func TestReleasedFromASwitchThatDoesNotRun(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	ev := b.events()
	b.news(ev, "it is watched", l, whole)
	b.sw.Kill("ovs-vswitchd")
	b.news(ev, "ovs-vswitchd ends", l, apart)
	b.must(b.Release(t.Context(), l))
	b.sw.StartSwitch()
	if left := b.sw.Ctl("list-br"); left != "" {
		t.Errorf("left on the switch: %s", left)
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
