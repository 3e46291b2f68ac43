package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/unixsock"
	"archetype/lab"
)

// mtuOption is a driver option that every engine takes: what mtu stands for.
const mtuOption = "com.docker.network.driver.mtu"

// managed puts a node into a management network of the case's own.
func (b *bench) managed(name string, m *lab.Management, v4, v6 string) backends.NodeConfig {
	return b.config(name, func(c *backends.NodeConfig) {
		cmd("exec sleep 1000")(c)
		c.Management = m
		d := &c.Node.Container
		d.NetworkMode, d.ManagementIPv4, d.ManagementIPv6 = "", v4, v6
	})
}

// management: the network is made as the file says, the nodes have their
// addresses in it and reach each other and the machine, over restarts too; it
// goes with the last node.
func management(b *bench) {
	m := &lab.Management{Network: "mgmt-" + b.lab, Bridge: "br-" + b.lab, IPv4Subnet: "172.31.200.5/24", IPv6Subnet: "fd31:200::/64",
		IPv4Gateway: "172.31.200.77", IPv4Range: "172.31.200.128/25", IPv6Gateway: "fd31:200::77", DriverOptions: map[string]string{mtuOption: "1400"}}
	if _, err := b.ManagementBridge(b.Context(), m); !errors.Is(err, backends.ErrNotFound) {
		b.Fatalf("before there is one: %v", err)
	}
	x := b.managed("a", m, "172.31.200.10", "fd31:200::10")
	y := b.managed("b", m, "", "")
	b.run(x)
	b.run(y)
	bridge, err := b.ManagementBridge(b.Context(), m)
	if err != nil || bridge != m.Bridge {
		b.Fatalf("bridge %q, %v", bridge, err)
	}
	onMachine, err := net.InterfaceByName(bridge)
	if err != nil {
		b.Fatal(err)
	}
	if addrs, _ := onMachine.Addrs(); !strings.Contains(fmt.Sprint(addrs), "172.31.200.77/24") || !strings.Contains(fmt.Sprint(addrs), "fd31:200::77/64") {
		b.Errorf("the machine has %v there", addrs)
	}
	first, _ := b.status(x.Ref)
	if first.ManagementIPv4 != "172.31.200.10" || first.ManagementIPv6 != "fd31:200::10" {
		b.Errorf("the addresses of the file became %s and %s", first.ManagementIPv4, first.ManagementIPv6)
	}
	other, _ := b.status(y.Ref)
	for subnet, got := range map[string]string{m.IPv4Range: other.ManagementIPv4, m.IPv6Subnet: other.ManagementIPv6} {
		if a, err := netip.ParseAddr(got); err != nil || !netip.MustParsePrefix(subnet).Contains(a) {
			b.Errorf("address %q is not of %s", got, subnet)
		}
	}
	if mtu := strings.TrimSpace(b.must(x.Ref, "cat /sys/class/net/eth0/mtu")); mtu != "1400" {
		b.Errorf("MTU %s", mtu)
	}
	reach := func() {
		b.Helper()
		forget := "ip neigh flush dev " // of who may have another MAC than before
		b.eventually("node b reaches node a", func() bool {
			code, _ := b.exec(y.Ref, forget+"eth0; ping -c1 -W1 172.31.200.10 && ping -6 -c1 -W1 fd31:200::10")
			return code == 0
		})
		b.eventually("the machine reaches node a", func() bool {
			_ = exec.Command("ip", strings.Fields(forget + bridge)[1:]...).Run()
			return exec.Command(StaticBusybox(), "ping", "-c1", "-W1", "172.31.200.10").Run() == nil
		})
	}
	reach()
	if err := errors.Join(b.Stop(b.Context(), x.Ref, 0), b.Start(b.Context(), x.Ref)); err != nil {
		b.Fatal(err)
	}
	if again, _ := b.status(x.Ref); again.ManagementIPv4 != first.ManagementIPv4 {
		b.Errorf("after a restart %s is %s", first.ManagementIPv4, again.ManagementIPv4)
	}
	reach()

	// Taken out of it behind our back, it is brought back, if need be by the next
	// start.
	if _, err := b.cli.NetworkDisconnect(b.Context(), m.Network, client.NetworkDisconnectOptions{Container: named(x.Ref)}); err != nil {
		b.Fatal(err)
	}
	b.event("taken out of the network", x.Ref, func(st backends.NodeStatus) bool { return st.Severed })
	err = b.Mend(b.Context(), x.Ref)
	if errors.Is(err, backends.ErrRestart) {
		err = errors.Join(b.Stop(b.Context(), x.Ref, 0), b.Start(b.Context(), x.Ref))
	}
	b.event("its address", x.Ref, func(st backends.NodeStatus) bool { return !st.Severed && st.ManagementIPv4 == first.ManagementIPv4 })
	if again, _ := b.status(x.Ref); err != nil || again.Severed || again.ManagementIPv4 != first.ManagementIPv4 || again.ManagementIPv6 != first.ManagementIPv6 {
		b.Errorf("brought back it is %+v, %v", again, err)
	}
	reach()
	if err := b.Remove(b.Context(), x.Ref); err != nil {
		b.Fatal(err)
	}
	if _, err := b.ManagementBridge(b.Context(), m); err != nil {
		b.Errorf("it went while node b was in it: %v", err)
	}
	if err := b.Remove(b.Context(), y.Ref); err != nil {
		b.Fatal(err)
	}
	if _, err := b.ManagementBridge(b.Context(), m); !errors.Is(err, backends.ErrNotFound) {
		b.Errorf("after the last node: %v", err)
	}
	if _, err := net.InterfaceByName(bridge); err == nil {
		b.Errorf("the machine still has %s", bridge)
	}
}

// addressesOfTheFile: a node that the file gives no address takes none that it
// gives to another, whichever starts first, and keeps the one that it has;
// whose address somebody else has says whose.
func addressesOfTheFile(b *bench) {
	m := &lab.Management{Network: "mgmt-" + b.lab, IPv4Subnet: "172.31.219.0/24", IPv6Subnet: "fd31:219::/64"}
	node := func(name, v4, v6 string) backends.NodeConfig {
		c := b.managed(name, m, v4, v6)
		for i := range 3 {
			c.Taken = append(c.Taken, netip.AddrFrom4([4]byte{172, 31, 219, byte(2 + i)}), netip.MustParseAddr(fmt.Sprintf("fd31:219::%d", 2+i)))
		}
		return c
	}
	others := []backends.NodeConfig{node("d1", "", ""), node("d2", "", ""), node("d3", "", "")}
	var wg sync.WaitGroup
	for _, c := range others { // at once, as an engine makes them
		wg.Go(func() {
			if err := errors.Join(b.Create(b.Context(), c), b.Start(b.Context(), c.Ref)); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	before, _ := b.status(others[1].Ref)
	for i := range 3 {
		v4, v6 := fmt.Sprintf("172.31.219.%d", 2+i), fmt.Sprintf("fd31:219::%d", 2+i)
		if st, _ := b.status(b.run(node("s"+fmt.Sprint(i), v4, v6))); st.ManagementIPv4 != v4 || st.ManagementIPv6 != v6 {
			b.Errorf("the addresses of the file became %s and %s", st.ManagementIPv4, st.ManagementIPv6)
		}
	}
	for _, c := range others {
		if err := b.Stop(b.Context(), c.Ref, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.run(others[1])
	if again, _ := b.status(others[1].Ref); again.ManagementIPv4 != before.ManagementIPv4 || again.ManagementIPv6 != before.ManagementIPv6 || before.ManagementIPv6 == "" {
		b.Errorf("it had %s and %s, and started again %s and %s", before.ManagementIPv4, before.ManagementIPv6, again.ManagementIPv4, again.ManagementIPv6)
	}
	late := b.managed("late", m, before.ManagementIPv4, "")
	b.create(late)
	if err := b.Start(b.Context(), late.Ref); err == nil || !strings.Contains(err.Error(), before.ManagementIPv4+" in network "+m.Network+" is that of container "+named(others[1].Ref)) {
		b.Errorf("the start of who wants another's address: %v", err)
	}
}

// foreignManagement: a network that was there before is used, and stays.
func foreignManagement(b *bench) {
	name := "own-" + b.lab
	res, err := b.cli.NetworkCreate(b.Context(), name, client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if _, err := b.cli.NetworkRemove(b.Context(), res.ID, client.NetworkRemoveOptions{}); err != nil {
			b.Error("the network that was there before: ", err)
		}
	}()
	ref := b.run(b.managed("a", &lab.Management{Network: name}, "", ""))
	if st, _ := b.status(ref); st.ManagementIPv4 == "" {
		b.Errorf("the node is not in it: %+v", st)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Fatal(err)
	}
}

// contendedManagement: a network stays when a container has come into it just
// before it was to be removed, be it one that the next engine of the program
// made while a request of the last one's was on its way.
func contendedManagement(b *bench) {
	m := &lab.Management{Network: "mgmt-" + b.lab, IPv4Subnet: "172.31.204.0/24"}
	late := b.managed("late", m, "", "")
	p := b.through(func(r *http.Request) error {
		if r.Method != http.MethodDelete || !strings.Contains(r.URL.Path, "/networks/") {
			return nil
		}
		return errors.Join(b.Create(r.Context(), late), b.Start(r.Context(), late.Ref))
	})
	c := b.managed("a", m, "", "")
	if err := errors.Join(p.Create(b.Context(), c), p.Remove(b.Context(), c.Ref)); err != nil {
		b.Fatal(err)
	}
	if _, err := b.ManagementBridge(b.Context(), m); err != nil {
		b.Errorf("it went while a container was in it: %v", err)
	}
	// What one made another who came last does not remove.
	if err := b.Remove(b.Context(), late.Ref); err != nil {
		b.Error(err)
	}
	if _, err := b.cli.NetworkRemove(b.Context(), m.Network, client.NetworkRemoveOptions{}); err != nil {
		b.Error(err)
	}
}

// through is a provider whose requests to the engine are seen before they get
// there; one with which something is wrong does not.
func (b *bench) through(see func(*http.Request) error) Provider {
	b.Helper()
	dir := b.TempDir()
	l, err := unixsock.Listen(filepath.Join(dir, "s"))
	if err != nil {
		b.Fatal(err)
	}
	var d net.Dialer
	to := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", strings.TrimPrefix(b.d.Host, "unix://"))
	}}
	proxy := &httputil.ReverseProxy{Transport: to, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" }}
	s := &http.Server{ReadHeaderTimeout: short, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := see(r); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close(); to.CloseIdleConnections() })
	p := b.d.New("unix://"+l.Addr().String(), filepath.Join(dir, "run"), filepath.Join(dir, "labs"))
	b.Cleanup(func() { remove(b, p) })
	return p
}

// eventually looks until something is so: for what has no event to wait for.
func (b *bench) eventually(what string, so func() bool) {
	b.Helper()
	for end := time.Now().Add(short); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if so() {
			return
		}
	}
	b.Fatal("in vain was waited until ", what)
}
