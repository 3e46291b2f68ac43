package outside_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/outside"
	"archetype/backends/overlay/vxlan"
	"archetype/internal/nstest"
	"archetype/lab"
)

// A bridge of the machine's own Open vSwitch, with a machine on it that knows
// nothing of labs; the network between is any.
func TestOVSBridge(t *testing.T) {
	sw := ovstest.Start(t)
	own := sw.Network(ovs.Config{})
	sw.Ctl("add-br", "br-lan", "--", "set", "bridge", "br-lan", "datapath_type=netdev")
	host := nstest.Enter(t, sw.Namespace())
	far := nstest.New(t)
	nstest.Cable(host, "port0", "", far, "eth0", "10.9.0.2/24", 1500)
	if err := far.Checksums("eth0"); err != nil {
		t.Fatal(err)
	}
	sw.Ctl("add-port", "br-lan", "port0")
	ports := func() []string { return strings.Fields(sw.Ctl("list-ports", "br-lan")) }
	for _, name := range []string{"veth", "linuxbridge", "ovs"} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, host: host, panel: nstest.New(t), node: nstest.New(t)}
			tunnels, err := vxlan.New(host.Path, b.panel.Path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tunnels.Close() })
			b.out, err = outside.New(outside.Config{Host: host.Path, Panel: b.panel.Path, Tunnels: tunnels, Switch: own})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.out.Close() })
			var n backends.Network = own
			if f := networks[name]; f != nil {
				if n, err = f(b.panel.Path); err != nil {
					t.Fatal(err)
				}
			}
			b.net = b.out.Over(n)
			l := b.link("br-lan:lab1", lab.Outside{Type: lab.OutsideOVSBridge, Bridge: "br-lan", Interface: "lab1"})
			wrong := b.link("br9:lab1", lab.Outside{Type: lab.OutsideOVSBridge, Bridge: "br9", Interface: "lab1"})
			_, err = b.out.Check(t.Context(), lab.Link{A: wrong.A.End, B: wrong.B.End, Outside: wrong.B.Outside}, nil)
			if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "ovs-vsctl add-br br9") {
				t.Errorf("a bridge that is not there: %v", err)
			}
			before := b.host.Names()
			b.connect(l)
			if got := ports(); !slices.Contains(got, "lab1") {
				t.Fatalf("ports %q", got)
			}
			b.ok(nstest.Stream(b.node, far, "10.9.0.2"))
			sw.Ctl("del-port", "lab1")
			if st := b.state(l); st.Connected || !strings.Contains(st.Reason, "br-lan") {
				t.Errorf("taken off the bridge: %+v", st)
			}
			b.connect(l)
			b.ok(nstest.Stream(b.node, far, "10.9.0.2"))
			b.ok(nstest.Send(far, b.node, "10.9.0.1", 1000))
			b.ok(b.net.Disconnect(t.Context(), l))
			b.carrier(l, lab.CarrierOff)
			b.connect(l)
			b.ok(nstest.Send(far, b.node, "10.9.0.1", 1000))
			b.ok(b.net.DeleteLink(t.Context(), l))
			b.ok(b.net.Cleanup(t.Context(), "l"))
			b.ok(b.out.Cleanup(t.Context(), "l"))
			if got := ports(); !slices.Equal(got, []string{"port0"}) {
				t.Errorf("ports after it all: %q", got)
			}
			if got := b.host.Names(); !slices.Equal(got, before) && name != "ovs" {
				t.Errorf("on the machine: %q before, %q after", before, got)
			}
		})
	}
}
