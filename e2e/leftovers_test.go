package e2e

import (
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/provider/libvirt/libvirttest"
)

const leftLab = `name: left
topology:
  nodes:
    vm: {kind: small}
    pc: {kind: linux}
    br-users: {kind: ovs-bridge, network-mode: host}
  links:
    - endpoints: ["vm:eth1", "pc:eth1"]
    - endpoints: ["pc:eth2", "host:left-host"]
    - endpoints: ["pc:eth3", "br-users:left-port"]
    - endpoints: ["pc:eth4", "macvlan:users-nic"]
`

// everySortIsLeft makes leftovers of a machine, its disk and taps, links and
// folders over Open vSwitch by killing the program and losing its store, beside
// what is like them and somebody else's. As long as what may own them does not
// answer, nothing is touched; then gc finds exactly those, and removes them.
func (w *world) everySortIsLeft(d *libvirttest.Daemon, sw *ovstest.Switch) {
	t := w.T
	t.Helper()
	// Names like ours without a mark, marks of another Archetype, and a user's own.
	for _, l := range []netlink.Link{
		&netlink.Veth{LinkAttrs: link("users-nic"), PeerName: "users-cable"},
		&netlink.Veth{LinkAttrs: link("o0123456789abcd"), PeerName: "l0123456789abcd"},
		&netlink.Veth{LinkAttrs: link("elses-host"), PeerName: "o123456789abcde"},
		&netlink.Veth{LinkAttrs: link("elses-port"), PeerName: "elses-far"},
		&netlink.Tuntap{LinkAttrs: link("v0123456789abcd"), Mode: netlink.TUNTAP_MODE_TAP},
		&netlink.Tuntap{LinkAttrs: link("vffffff01234567"), Mode: netlink.TUNTAP_MODE_TAP},
		&netlink.Bridge{LinkAttrs: link("b0123456789abcd")},
	} {
		must(t, netlink.LinkAdd(l))
		if tap, ok := l.(*netlink.Tuntap); ok {
			for _, f := range tap.Fds {
				_ = f.Close()
			}
		}
	}
	alias := func(name, text string) {
		t.Helper()
		l, err := netlink.LinkByName(name)
		must(t, err, netlink.LinkSetAlias(l, text))
	}
	alias("elses-host", "archetype@ffffffff:left:host:elses-host")
	alias("o123456789abcde", "archetype-port@ffffffff:left:host:elses-host")
	alias("vffffff01234567", "archetype-tap@ffffff:left:vm:eth1")
	sw.Ctl("add-br", "br-users", "--", "set", "Bridge", "br-users", "datapath_type=netdev",
		"--", "add-port", "br-users", "users-cable",
		"--", "add-port", "br-users", "elses-port", "--", "set", "Port", "elses-port",
		"external_ids:archetype-owner=ffffffff", "external_ids:archetype-lab=left")
	for _, name := range []string{"users-nic", "users-cable", "br-users"} {
		address(t, name, "")
	}
	state := func() map[string][]string {
		t.Helper()
		out := machinesAround(w, d)
		delete(out, "processes") // the engine that looked may linger
		out["files"] = slices.DeleteFunc(out["files"], func(path string) bool { return !strings.Contains(path, "/state/labs/") })
		for i, l := range out["links"] { // a cable's ends tell of it a moment later
			out["links"][i] = strings.ReplaceAll(l, "|running", "")
		}
		for _, br := range strings.Fields(sw.Ctl("list-br")) {
			out["switch"] = append(out["switch"], br+": "+strings.Join(strings.Fields(sw.Ctl("list-ports", br)), " "))
		}
		return out
	}
	same := func(want map[string][]string, after string) {
		t.Helper()
		w.await("the engine to be away", func() bool { return w.engine() == 0 && w.holder() == 0 })
		got := state()
		for what := range want {
			if !slices.Equal(got[what], want[what]) {
				t.Errorf("%s after %s:\n%s\nand before:\n%s", what, after, strings.Join(got[what], "\n"), strings.Join(want[what], "\n"))
			}
		}
	}
	before := state()

	w.run("deploy", w.file("left.clab.yml", leftLab), "--network", "ovs", "--timeout", "40s")
	eventually(t, "the lab to run", func() bool {
		l := w.inspect("left")
		return l.Lab.State == "running" && !slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.Actual != "up" })
	})
	name := w.inspect("left").node("vm").Identifier
	tap := ""
	for _, i := range interfaces(t) {
		if f := strings.Fields(i); strings.HasPrefix(f[0], "v") && f[1] == "tuntap" && f[0] != "v0123456789abcd" && f[0] != "vffffff01234567" {
			tap = f[0]
		}
	}
	killed := func() {
		t.Helper()
		w.kill(w.engine())
		if holder := w.holder(); holder != 0 {
			w.kill(holder)
		}
		w.loseStore()
		w.await("the nodes' ends of pairs to have gone", func() bool {
			links, err := netlink.LinkList()
			must(t, err)
			return !slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Type() == "veth" && l.Attrs().NetNsID >= 0 })
		})
	}
	killed()

	// Who may own it cannot be asked.
	left := state()
	d.Stop()
	sw.Kill("ovsdb-server")
	r := w.code(1, "gc", "--remove", "--json")
	said := map[string]string{}
	for _, s := range w.found(r) {
		if said[s.String()] = s.Error; s.Removed {
			t.Errorf("removed though nobody could be asked: %+v", s)
		}
	}
	for what, words := range map[string]string{"libvirt node ": "cannot be looked for", "ovs links ": "cannot be looked for",
		"outside interface left/left-host": "left alone: it may be of nodes of libvirt", "files folder left/": "left alone"} {
		if !strings.Contains(said[what], words) {
			t.Errorf("of %q it says %q in %s", what, said[what], r)
		}
	}
	sw.StartDatabase()
	d.Run()
	same(left, "gc --remove without libvirt and the switch's database")

	// Who answers again has a machine that says what it is of.
	if got := w.strays("gc", "--remove"); len(got) > 0 {
		t.Errorf("of a lab that runs, gc --remove finds %q", got)
	}
	if !slices.Contains(d.Domains(), name) {
		t.Errorf("the machine is gone: %q", d.Domains())
	}
	killed()
	virsh(t, d, "destroy", name)
	virsh(t, d, "undefine", name)
	want := []string{"files folder left/", "libvirt tap left/" + tap, "outside interface left/left-host",
		"outside interface left/left-port", "ovs links left/", "ovs port left/left-port"}
	left = state()
	if got := w.strays("gc"); !slices.Equal(got, want) {
		t.Errorf("gc finds\n%s\nand there is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	same(left, "gc")
	if got := w.strays("gc", "--remove"); !slices.Equal(got, want) {
		t.Errorf("gc --remove finds\n%s\nand there is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := w.strays("gc"); len(got) > 0 {
		t.Errorf("left is %q", got)
	}
	must(t, os.Remove(w.dir+"/left.clab.yml"))
	same(before, "gc --remove")

	// A mark of a version that did not name whose it is.
	alias("elses-host", "archetype:left:host:elses-host")
	r = w.code(1, "gc", "--remove", "--json")
	if found := w.found(r); len(found) != 1 || found[0].String() != "outside interface left/elses-host" || !strings.Contains(found[0].Error, "an earlier version") {
		t.Errorf("of an old mark gc says %s", r)
	}
	same(before, "gc --remove with an old mark")
	sw.Ctl("del-br", "br-users")
	for _, name := range []string{"users-nic", "o0123456789abcd", "elses-host", "elses-port", "v0123456789abcd", "vffffff01234567", "b0123456789abcd"} {
		l, err := netlink.LinkByName(name)
		must(t, err, netlink.LinkDel(l))
	}
}
