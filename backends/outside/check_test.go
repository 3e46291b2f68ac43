package outside_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/internal/nstest"
	"archetype/lab"
)

// What others have on the machine is never touched, and said to be in the way.
func TestStrangersAreLeftAlone(t *testing.T) {
	every(t, func(b *bench) {
		far := nstest.New(b.T)
		nstest.Cable(b.host, "eth7", "10.9.0.3/24", far, "eth0", "10.9.0.2/24", 1500)
		l := b.link("host:eth7", lab.Outside{Type: lab.OutsideHost, Interface: "eth7"})
		_, err := b.out.Check(b.Context(), lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}, nil)
		if !errors.Is(err, backends.ErrConflict) {
			b.Errorf("checked: %v", err)
		}
		if err := b.net.Connect(b.Context(), l); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "eth7") {
			b.Errorf("connected: %v", err)
		}
		b.ok(b.net.DeleteLink(b.Context(), l))
		b.ok(b.out.Cleanup(b.Context(), "l"))
		b.ok(nstest.Send(b.host, far, "10.9.0.2", 100))
		// Another lab's is not this one's either.
		theirs := b.link("host:eth8", lab.Outside{Type: lab.OutsideHost, Interface: "eth8"})
		theirs.Lab, theirs.A.Lab, theirs.B.Lab = "other", "other", "other"
		b.connect(theirs)
		ours := b.link("host:eth8", lab.Outside{Type: lab.OutsideHost, Interface: "eth8"})
		ours.A.Attachment.Interface = "eth2"
		if err := b.net.Connect(b.Context(), ours); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "lab other") {
			b.Errorf("another lab's: %v", err)
		}
		b.ok(b.net.DeleteLink(b.Context(), ours))
		b.ok(b.out.Cleanup(b.Context(), "l"))
		// What was made and not marked any more, when that was interrupted, is in
		// nobody's way.
		dev, err := b.host.LinkByName("eth8")
		b.ok(err)
		b.ok(b.host.LinkSetAlias(dev, ""))
		_, err = b.out.Check(b.Context(), lab.Link{A: theirs.A.End, B: theirs.B.End, Outside: theirs.B.Outside}, nil)
		b.ok(err)
		b.connect(theirs)
		if !slices.Contains(b.host.Names(), "eth8") {
			b.Error("another lab's interface is gone")
		}
	})
}

func TestCheckSaysWhatTheMachineLacks(t *testing.T) {
	b := newBench(t, "veth")
	for name, c := range map[string]struct {
		out  lab.Outside
		want error
		text string
	}{
		"no bridge":       {lab.Outside{Type: lab.OutsideBridge, Bridge: "br9", Interface: "p1"}, backends.ErrUnavailable, "ip link add br9"},
		"no bridge at lo": {lab.Outside{Type: lab.OutsideBridge, Bridge: "lo", Interface: "p1"}, backends.ErrConflict, "no bridge"},
		"no switch":       {lab.Outside{Type: lab.OutsideOVSBridge, Bridge: "br9", Interface: "p1"}, backends.ErrUnavailable, "Open vSwitch"},
		"no parent":       {lab.Outside{Type: lab.OutsideMacvlan, Interface: "eth9"}, backends.ErrUnavailable, "eth9"},
		"no such mode":    {lab.Outside{Type: lab.OutsideMacvlan, Interface: "lo", Mode: "bogus"}, backends.ErrUnsupported, "passthru"},
	} {
		l := b.link("x:y", c.out)
		_, err := b.out.Check(t.Context(), lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}, nil)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What changes on the machine reaches whoever listens.
func TestEvents(t *testing.T) {
	b := newBench(t, "linuxbridge")
	b.lan(1500)
	far := nstest.New(t)
	nstest.Cable(b.host, "nic", "", far, "eth0", "", 1500)
	port := b.link("br-lan:lab1", lab.Outside{Type: lab.OutsideBridge, Bridge: "br-lan", Interface: "lab1"})
	lan := b.link("macvlan:nic", lab.Outside{Type: lab.OutsideMacvlan, Interface: "nic"})
	lan.A.End.Interface, lan.A.Attachment.Interface = "eth2", "eth2"
	ctx, cancel := context.WithCancel(t.Context())
	events, err := b.out.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.connect(port)
	b.connect(lan)
	heard := func(what string, id string, f func(backends.LinkStatus) bool) {
		t.Helper()
		for st := range events {
			if st.ID == id && st.Lab == "l" && f(st) {
				return
			}
		}
		t.Fatal("never heard: " + what)
	}
	heard("the port on its bridge", port.ID(), func(st backends.LinkStatus) bool { return st.Connected })
	dev, err := b.host.LinkByName("lab1")
	if err != nil {
		t.Fatal(err)
	}
	b.ok(b.host.LinkSetNoMaster(dev))
	heard("the port off its bridge", port.ID(), func(st backends.LinkStatus) bool { return !st.Connected && !st.Gone })
	b.ok(b.host.Delete("lab1"))
	heard("the port gone", port.ID(), func(st backends.LinkStatus) bool { return !st.Connected })
	far.Down("eth0")
	heard("carrier lost", lan.ID(), func(st backends.LinkStatus) bool { return st.Connected && st.Carrier == lab.CarrierOff })
	far.Address("eth0", "")
	heard("carrier back", lan.ID(), func(st backends.LinkStatus) bool { return st.Carrier == lab.CarrierOn })
	b.ok(b.node.Delete("eth2"))
	heard("the interface gone", lan.ID(), func(st backends.LinkStatus) bool { return st.Gone })
	cancel()
	for range events { // until it is closed
	}
}

// Every sort of link is spoken of, and one that the machine cannot have comes
// with the reason and what would help. Trying leaves nothing behind.
func TestOffers(t *testing.T) {
	nstest.Both(t, func(t *testing.T) {
		b := newBench(t, "veth")
		var types []lab.OutsideType
		for range 2 {
			types = nil
			for _, offer := range b.out.Offers(t.Context()) {
				types = append(types, offer.Type)
				if offer.OK == (offer.Reason != "") || !offer.OK && offer.Fix == "" {
					t.Errorf("%+v", offer)
				}
			}
		}
		for _, want := range lab.OutsideTypes() {
			if !slices.Contains(types, want) {
				t.Errorf("not a word of %s", want)
			}
		}
		if left := append(b.host.Names(), b.panel.Names()...); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}
