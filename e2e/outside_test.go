package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
)

const outsideLab = `
name: out
topology:
  nodes:
    n1: {kind: linux}
    n2: {kind: linux}
    br-lan: {kind: bridge, network-mode: host}
  links:
    - endpoints: ["n1:eth1", "n2:eth1"]
    - endpoints: ["n1:eth2", "host:n1host"]
    - endpoints: ["n2:eth2", "br-lan:n2lan"]
    - endpoints: ["n1:eth3", "macvlan:nic"]
    - type: dummy
      endpoint: {node: n1, interface: eth4}
    - type: vxlan-stitch
      endpoint: {node: n2, interface: eth5}
      remote: 192.0.2.2
      vni: 77
    - type: vxlan
      endpoint: {node: n2, interface: eth6}
      remote: 192.0.2.2
      vni: 78
`

// TestLinksThatLeaveTheLab takes one of every sort through a lab's life, with
// an engine that is killed and a store that is lost on the way. The machine
// is a sandbox with a network card and a bridge of its own.
func TestLinksThatLeaveTheLab(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		leaveTheLab(t, os.Getenv("E2E_NETWORK"))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			alone(t, "E2E_NETWORK="+network)
		})
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func address(t *testing.T, name, text string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err, netlink.LinkSetUp(l))
	if text == "" {
		return
	}
	a, err := netlink.ParseAddr(text)
	must(t, err, netlink.AddrReplace(l, a))
}

// interfaces are the machine's, with what they belong to.
func interfaces(t *testing.T) []string {
	t.Helper()
	links, err := whole.List(netlink.LinkList)
	must(t, err)
	var out []string
	for _, l := range links {
		a := l.Attrs()
		out = append(out, a.Name+" "+l.Type()+" "+a.HardwareAddr.String())
	}
	slices.Sort(out)
	return out
}

func link(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

func leaveTheLab(t *testing.T, network string) {
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	address(t, "lo", "")
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: link("nic"), PeerName: "cable"}))
	address(t, "cable", "")
	address(t, "nic", "192.0.2.1/24")
	w := newWorld(t, asRoot)
	file := w.file("out.clab.yml", outsideLab)

	// What the machine lacks is said before anything is made.
	before := interfaces(t)
	r := w.run("deploy", file, "--network", network)
	if r.code == 0 || !strings.Contains(r.err, "br-lan") || !strings.Contains(r.err, "ip link add br-lan type bridge") {
		t.Fatalf("without the bridge: %s", r)
	}
	if got := interfaces(t); !slices.Equal(got, before) {
		t.Fatalf("interfaces %q, and before the deploy that was refused %q", got, before)
	}

	br := &netlink.Bridge{LinkAttrs: link("br-lan")}
	br.HardwareAddr, _ = net.ParseMAC("fa:00:00:00:00:01")
	must(t, netlink.LinkAdd(br))
	address(t, "br-lan", "10.6.0.1/24")
	before = interfaces(t)
	w.ok("deploy", file, "--network", network)
	l := w.awaitWhole("out")
	if len(l.Links) != 7 {
		t.Fatalf("%d links: %+v", len(l.Links), l.Links)
	}
	reach := func(when string) {
		t.Helper()
		address(t, "n1host", "10.5.0.1/24")
		for node, want := range map[string][2]string{"n1": {"10.5.0.2/24", "10.5.0.1"}, "n2": {"10.6.0.2/24", "10.6.0.1"}} {
			w.run("exec", "out", node, "--", "ip", "addr", "add", want[0], "dev", "eth2") // it may have it
			w.await(node+" to reach the machine "+when, func() bool { return w.ping("out", node, want[1]) })
		}
	}
	reach("at first")
	seen := w.begin("capture", "out", "n1:eth2", "--count", "1") // where a link leaves the lab, too
	w.await("a packet to be captured", func() bool {
		w.ping("out", "n1", "10.5.0.1")
		select {
		case err := <-seen.end:
			must(t, err)
			return true
		default:
			return false
		}
	})

	// Of links that are tunnels it is told where they lead, what fits through
	// them, and that nothing came from a machine that is not there.
	told := w.ok("inspect", "out")
	for end, vni := range map[string]int{"n2:eth5": 77, "n2:eth6": 78} {
		far := fmt.Sprintf("%s:192.0.2.2/%d", map[int]string{77: "vxlan-stitch", 78: "vxlan"}[vni], vni)
		tun := w.inspect("out").link(end, far).Tunnel
		w.await("the far end of "+end+" to be found away", func() bool { // its address is asked for thrice
			tun = w.inspect("out").link(end, far).Tunnel
			return tun == nil || tun.State == "failed"
		})
		if tun == nil || tun.VNI != vni || tun.Remote != "192.0.2.2" || tun.Local != "192.0.2.1" || tun.Device != "nic" || tun.UDPPort != 14789 ||
			tun.PathMTU != 1500 || tun.MTU != 1450 || tun.Heard || tun.Received != 0 || !strings.Contains(tun.Reason, "does not answer") {
			t.Errorf("of the tunnel of %s: %+v", end, tun)
		}
		if !strings.Contains(told, fmt.Sprintf("%s  %d ", end, vni)) || !strings.Contains(told, "1450 of 1500") {
			t.Errorf("of the tunnel of %s, for people:\n%s", end, told)
		}
	}
	for _, k := range w.inspect("out").Links {
		if (k.Tunnel != nil) != strings.HasPrefix(k.Outside, "vxlan") {
			t.Errorf("a tunnel, or none: %+v", k)
		}
	}

	w.ok("link", "disconnect", "out", "n1:eth2", "host:n1host")
	if k := w.inspect("out").link("n1:eth2", "host:n1host"); k.Actual != "down" || k.Carrier != "off" {
		t.Errorf("cut: %+v", k)
	}
	if w.ping("out", "n1", "10.5.0.1") {
		t.Error("a cable that is cut carries")
	}
	w.ok("link", "connect", "out", "n1:eth2", "host:n1host")
	reach("after the cable was joined")

	// Behind the program's back, while it runs and while it does not.
	port, err := netlink.LinkByName("n2lan")
	must(t, err, netlink.LinkSetNoMaster(port))
	w.await("the port to be put back", func() bool {
		port, err := netlink.LinkByName("n2lan")
		return err == nil && port.Attrs().MasterIndex != 0
	})
	w.kill(w.engine())
	must(t, netlink.LinkDel(port))
	w.awaitWhole("out")
	reach("after its port was removed while no engine ran")

	// Nothing is known of it but what it carries itself.
	w.kill(w.engine())
	must(t, os.Remove(filepath.Join(w.state(), "archetype.db")))
	if l := w.awaitWhole("out"); len(l.Links) != 7 {
		t.Errorf("%d links were found again: %+v", len(l.Links), l.Links)
	}
	reach("after the store was lost")

	w.ok("restart", "out", "n1")
	w.awaitWhole("out")
	reach("after a restart of its node")

	w.ok("destroy", "out", "--yes")
	if got := interfaces(t); !slices.Equal(got, before) {
		t.Errorf("interfaces after it all %q\nand before %q", got, before)
	}
}

// TestLinksThatLeaveTheLabWithoutRoot: an ordinary user's machine is the user
// namespace around the labs. What is not in it is refused before anything is
// made, with the reason; what can be made there is, with a word about where.
func TestLinksThatLeaveTheLabWithoutRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	for what, link := range map[string]string{
		"bridge":  `{endpoints: ["n1:eth1", "br9:p1"]}`,
		"macvlan": `{endpoints: ["n1:eth1", "macvlan:eth0"]}`,
		"vxlan":   `{type: vxlan, endpoint: {node: n1, interface: eth1}, remote: 192.0.2.2, vni: 5}`,
	} {
		file := w.file(what+".clab.yml", "name: "+what+"\ntopology:\n  nodes:\n    n1: {kind: linux}\n    br9: {kind: bridge, network-mode: host}\n  links:\n    - "+link+"\n")
		r := w.run("deploy", file)
		if r.code == 0 || !strings.Contains(r.err, "run as root") {
			t.Errorf("%s: %s", what, r)
		}
		if r := w.run("inspect", what, "--json"); r.code == 0 {
			t.Errorf("%s: something of it was made: %s", what, r)
		}
	}
	file := w.file("own.clab.yml", `
name: own
topology:
  nodes:
    n1: {kind: linux}
  links:
    - endpoints: ["n1:eth1", "host:own1"]
    - endpoints: ["n1:eth2", "dummy"]
`)
	r := w.code(0, "deploy", file)
	if !strings.Contains(r.out+r.err, "user namespace around the lab") {
		t.Errorf("not a word about where own1 is: %s", r)
	}
	if l := w.awaitWhole("own"); len(l.Links) != 2 {
		t.Errorf("%+v", l.Links)
	}
	w.ok("link", "disconnect", "own", "n1:eth1", "host:own1")
	if k := w.inspect("own").link("n1:eth1", "host:own1"); k.Actual != "down" || k.Carrier != "off" {
		t.Errorf("cut: %+v", k)
	}
	w.ok("destroy", "own", "--yes")
}
