package dockerapi

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// An engine gives a container that names no address the first free one when it
// starts, be it one that the file gives to a node which starts later. So where
// the file names addresses, all nodes of the lab have theirs chosen beforehand.

// choose gives the request an address of each family of which the file names
// some, unless it names this node's.
func (p *Provider) choose(ctx context.Context, cli *client.Client, n *node, c backends.NodeConfig, management string, req *client.ContainerCreateOptions) error {
	if req.NetworkingConfig == nil || len(c.Taken) == 0 {
		return nil
	}
	e := req.NetworkingConfig.EndpointsConfig[management]
	ipam := network.EndpointIPAMConfig{}
	if e.IPAMConfig != nil {
		ipam = *e.IPAMConfig
	}
	four := func(a netip.Addr) bool { return a.Is4() }
	six := func(a netip.Addr) bool { return a.Is6() }
	need4 := !ipam.IPv4Address.IsValid() && slices.ContainsFunc(c.Taken, four)
	need6 := !ipam.IPv6Address.IsValid() && slices.ContainsFunc(c.Taken, six)
	if !need4 && !need6 {
		return nil
	}
	p.mgmt.Lock() // nobody else chooses meanwhile
	defer p.mgmt.Unlock()
	have, err := cli.NetworkInspect(ctx, management, client.NetworkInspectOptions{})
	if err != nil {
		return err
	}
	taken := p.taken(n, management, have.Network)
	for _, a := range c.Taken {
		taken[a] = true
	}
	before := n.given()
	if need4 {
		ipam.IPv4Address = free(have.Network.IPAM.Config, four, taken, before.IPv4Address)
	}
	if need6 {
		ipam.IPv6Address = free(have.Network.IPAM.Config, six, taken, before.IPv6Address)
	}
	e.IPAMConfig = &ipam
	n.state.Lock()
	n.chosen, n.chosenIn = e, management // until it is noted
	n.state.Unlock()
	return nil
}

// given are the addresses that the node was made with, if any.
func (n *node) given() network.EndpointIPAMConfig {
	n.state.Lock()
	defer n.state.Unlock()
	for _, e := range []*network.EndpointSettings{n.chosen, n.kept.Endpoint} {
		if e != nil && e.IPAMConfig != nil {
			return *e.IPAMConfig
		}
	}
	return network.EndpointIPAMConfig{}
}

// belongs reports whether the node is in a network, or is about to be.
func (n *node) belongs(management string) bool {
	n.state.Lock()
	defer n.state.Unlock()
	if n.chosen != nil {
		return n.chosenIn == management
	}
	return n.kept.Management == management
}

// taken are the addresses of a network that others than the node have, or had
// and will have again.
func (p *Provider) taken(n *node, management string, net network.Inspect) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	id := n.known().ID
	for other, e := range net.Containers {
		if other != id {
			out[e.IPv4Address.Addr()], out[e.IPv6Address.Addr()] = true, true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.nodes {
		if other != n && other.belongs(management) {
			ipam := other.given()
			out[ipam.IPv4Address], out[ipam.IPv6Address] = true, true
		}
	}
	return out
}

// free is the address that the node had, or the first that nobody has: none
// where the network has no such family or is full, which the engine then says.
func free(pools []network.IPAMConfig, family func(netip.Addr) bool, taken map[netip.Addr]bool, before netip.Addr) netip.Addr {
	for _, c := range pools {
		if !family(c.Subnet.Addr()) {
			continue
		}
		pool := c.Subnet.Masked()
		first := pool.Addr().Next()
		taken[c.Gateway] = true
		if !c.Gateway.IsValid() {
			taken[first] = true // where an engine puts its own
		}
		if c.IPRange.IsValid() {
			pool = c.IPRange.Masked()
			first = pool.Addr()
			taken[c.Subnet.Masked().Addr()] = true
		}
		if before.IsValid() && pool.Contains(before) && !taken[before] {
			return before
		}
		for a := first; pool.Contains(a); a = a.Next() {
			if next := a.Next(); !taken[a] && (a.Is6() || c.Subnet.Contains(next)) { // the last is for all
				return a
			}
		}
	}
	return netip.Addr{}
}

// claimed says who has the address that the file gives to a node whose start
// has failed, if that is why.
func (n *node) claimed(ctx context.Context, cli *client.Client, err error) error {
	k := n.known()
	if err == nil || k.Endpoint == nil || k.Endpoint.IPAMConfig == nil {
		return err
	}
	have, ierr := cli.NetworkInspect(ctx, k.Management, client.NetworkInspectOptions{})
	if ierr != nil {
		return err
	}
	for id, e := range have.Network.Containers {
		for _, a := range []netip.Addr{k.Endpoint.IPAMConfig.IPv4Address, k.Endpoint.IPAMConfig.IPv6Address} {
			if id != k.ID && a.IsValid() && (a == e.IPv4Address.Addr() || a == e.IPv6Address.Addr()) {
				return fmt.Errorf("address %s in network %s is that of container %s: give this node or that one another with mgmt-ipv4 or mgmt-ipv6 (%w)",
					a, k.Management, e.Name, err)
			}
		}
	}
	return err
}
