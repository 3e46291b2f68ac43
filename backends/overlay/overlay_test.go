package overlay_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"archetype/backends"
	"archetype/backends/overlay"
)

// Both ends come to one number without talking, and it is always one that
// VXLAN can carry.
func TestVNIIsTheSameFromBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		v := overlay.VNI(a, b)
		if v != overlay.VNI(b, a) {
			t.Fatalf("%q and %q do not agree", a, b)
		}
		if v < 1 || v > overlay.MaxVNI {
			t.Fatalf("VNI %d", v)
		}
	})
}

func TestVNIsOfManyTunnelsSpread(t *testing.T) {
	seen := map[uint32]bool{}
	const tunnels = 1000
	for i := range tunnels {
		seen[overlay.VNI("left", strings.Repeat("x", i))] = true
	}
	if len(seen) < tunnels-5 { // chance makes 0.03 of them meet
		t.Errorf("%d tunnels got %d numbers", tunnels, len(seen))
	}
}

func TestFit(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name   string
		remote netip.Addr
		wanted int
		path   int
		mtu    int // 0: refused
		note   bool
	}{
		{"a path of 1500 lowers to 1450", v4, 0, 1500, 1450, true},
		{"IPv6 takes 20 more", v6, 0, 1500, 1430, true},
		{"a wide path leaves 1500", v4, 0, 1550, 1500, false},
		{"one byte less does not", v4, 0, 1549, 1499, true},
		{"a wish that fits", v4, 9000, 9050, 9000, false},
		{"a wish that does not", v4, 9000, 9049, 0, false},
		{"a path too narrow for anything", v4, 0, 600, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tun := backends.Tunnel{Near: "a", Far: "b", Remote: c.remote, MTU: c.wanted}
			mtu, note, err := overlay.Fit(tun, overlay.Path{Device: "eth0", MTU: c.path})
			if mtu != c.mtu || (note != "") != c.note || (err != nil) != (c.mtu == 0) {
				t.Errorf("MTU %d, note %q, error %v", mtu, note, err)
			}
			if err != nil && !errors.Is(err, backends.ErrConflict) {
				t.Errorf("%v is no conflict", err)
			}
		})
	}
}

func TestCompleteRefuses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for name, tun := range map[string]backends.Tunnel{
		"no names":     {Remote: v4},
		"one name":     {Near: "a", Far: "a", Remote: v4},
		"no remote":    {Near: "a", Far: "b"},
		"two families": {Near: "a", Far: "b", Local: v6, Remote: v4},
		"a large VNI":  {Near: "a", Far: "b", Remote: v4, VNI: overlay.MaxVNI + 1},
	} {
		if _, err := overlay.Complete(tun); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
