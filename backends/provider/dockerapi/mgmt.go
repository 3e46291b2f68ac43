package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/lab"
)

// managementName is that of the management network where the file does not say
// otherwise: containerlab's.
const managementName = "clab"

// management makes sure that the node's management network exists and returns
// its name, or nothing when the node is in none.
func (p *Provider) management(ctx context.Context, c backends.NodeConfig) (string, error) {
	if mode := c.Node.Container.NetworkMode; mode != "" && mode != "bridge" {
		return "", nil
	}
	m := lab.Management{}
	if c.Management != nil {
		m = *c.Management
	}
	m.Network = or(m.Network, managementName)
	cli, err := p.Client()
	if err != nil {
		return "", err
	}
	p.mgmt.Lock()
	defer p.mgmt.Unlock()
	have, err := p.networks(ctx, cli, m.Network)
	if err != nil {
		return m.Network, err
	}
	if len(have) > 0 {
		return m.Network, p.access(ctx, cli, have[0], m)
	}
	opt, err := networkOptions(m)
	if err == nil && p.cfg.Open != nil && m.External() {
		var open map[string]string
		open, err = p.cfg.Open(ctx)
		maps.Copy(open, opt.Options) // the file's own come first
		opt.Options = open
	}
	if err != nil {
		return "", fmt.Errorf("management network %s: %w", m.Network, err)
	}
	// It is its containers', of whatever labs. Which lab had it made tells whose
	// it is when it was interrupted before there was one.
	opt.Labels = map[string]string{labelHome: p.home(), labelLab: c.Ref.Lab, "containerlab": ""}
	res, err := cli.NetworkCreate(ctx, m.Network, opt)
	if err != nil && m.IPv6Subnet == "" && len(opt.IPAM.Config) > 1 {
		// Nobody asked for IPv6, and this machine may have none.
		opt.EnableIPv6 = nil
		opt.IPAM.Config = opt.IPAM.Config[:1]
		var err4 error
		if res, err4 = cli.NetworkCreate(ctx, m.Network, opt); err4 == nil {
			err = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("management network %s: %w (another subnet can be named in the file under mgmt)", m.Network, err)
	}
	// The engine lets two networks have one name: who came second gives way.
	all, err := p.networks(ctx, cli, m.Network)
	if err != nil {
		return "", err
	}
	if len(all) > 1 {
		first := slices.MinFunc(all, func(a, b network.Summary) int { return a.Created.Compare(b.Created) })
		if first.ID != res.ID {
			if _, err := cli.NetworkRemove(ctx, res.ID, client.NetworkRemoveOptions{}); err != nil {
				return "", err
			}
		}
		all[0] = first
	}
	if len(all) == 0 {
		return "", fmt.Errorf("management network %s was removed as soon as it was made (%w)", m.Network, backends.ErrConflict)
	}
	delete(p.opened, all[0].ID) // Podman's of one name have one ID
	return m.Network, p.access(ctx, cli, all[0], m)
}

// access sees to who may reach the nodes of a network that we made: everybody
// to whom this machine routes, unless the file says otherwise.
func (p *Provider) access(ctx context.Context, cli *client.Client, n network.Summary, m lab.Management) error {
	if n.Labels[labelHome] != p.home() || p.opened[n.ID] {
		return nil
	}
	allowed := m.External()
	bridge, err := p.bridge(ctx, cli, n)
	if err == nil {
		err = p.noteNetwork(n, bridge)
	}
	if err == nil && p.cfg.Access != nil {
		err = p.cfg.Access(ctx, bridge, &allowed)
	}
	if err == nil { // of one before it, whose removal was interrupted
		err = p.tidy(ctx, cli, func(before Network) bool { return before.Name == n.Name })
	}
	if err != nil {
		return fmt.Errorf("external access to management network %s: %w", n.Name, err)
	}
	p.opened[n.ID] = true
	return nil
}

// bridge is the interface of the machine at which a network's containers meet.
func (p *Provider) bridge(ctx context.Context, cli *client.Client, n network.Summary) (string, error) {
	if p.cfg.Bridge != nil {
		return p.cfg.Bridge(ctx, cli, n.ID) // Podman calls its first one otherwise here than itself
	}
	return bridgeName(n), nil
}

// bridgeName is the interface of a network, as Docker names those that nobody
// named.
func bridgeName(n network.Summary) string {
	if bridge := n.Options["com.docker.network.bridge.name"]; bridge != "" {
		return bridge
	}
	return "br-" + n.ID[:min(12, len(n.ID))]
}

// ManagementBridge implements backends.ManagementBridger.
func (p *Provider) ManagementBridge(ctx context.Context, m *lab.Management) (string, error) {
	name := managementName
	if m != nil {
		name = or(m.Network, name)
	}
	cli, err := p.Client()
	if err != nil {
		return "", err
	}
	have, err := p.networks(ctx, cli, name)
	if err != nil {
		return "", err
	}
	if len(have) == 0 {
		return "", fmt.Errorf("management network %s: %w", name, backends.ErrNotFound)
	}
	bridge, err := p.bridge(ctx, cli, have[0])
	return bridge, p.fail("management network "+name, err)
}

// networks are those of exactly that name.
func (p *Provider) networks(ctx context.Context, cli *client.Client, name string) ([]network.Summary, error) {
	list, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", name)})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(n network.Summary) bool { return n.Name != name }), nil
}

func networkOptions(m lab.Management) (client.NetworkCreateOptions, error) {
	opt := client.NetworkCreateOptions{Driver: "bridge", Options: maps.Clone(m.DriverOptions), IPAM: &network.IPAM{Driver: "default"}}
	if opt.Options == nil {
		opt.Options = map[string]string{}
	}
	if m.Bridge != "" {
		opt.Options["com.docker.network.bridge.name"] = m.Bridge
	}
	if m.MTU > 0 {
		opt.Options["com.docker.network.driver.mtu"] = strconv.Itoa(m.MTU)
	}
	v4, v6 := m.Subnets()
	for _, s := range []struct{ subnet, gateway, pool string }{{v4, m.IPv4Gateway, m.IPv4Range}, {v6, m.IPv6Gateway, m.IPv6Range}} {
		if s.subnet == "" || s.subnet == "auto" {
			continue
		}
		var c network.IPAMConfig
		var err error
		if c.Subnet, err = netip.ParsePrefix(s.subnet); err != nil {
			return opt, err
		}
		c.Subnet = c.Subnet.Masked() // newer engines insist
		if s.gateway != "" {
			if c.Gateway, err = netip.ParseAddr(s.gateway); err != nil {
				return opt, err
			}
		}
		if s.pool != "" {
			if c.IPRange, err = netip.ParsePrefix(s.pool); err != nil {
				return opt, err
			}
			c.IPRange = c.IPRange.Masked()
		}
		if c.Subnet.Addr().Is6() {
			yes := true
			opt.EnableIPv6 = &yes
		}
		opt.IPAM.Config = append(opt.IPAM.Config, c)
	}
	return opt, nil
}

// Unused implements backends.Sweeper: management networks of ours without a
// container, what is left of those that are gone, and what is kept of nodes
// without one.
func (p *Provider) Unused(ctx context.Context, labName string) ([]backends.Spare, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	list, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("label", labelHome+"="+p.home())})
	if err != nil {
		return nil, p.fail("list networks", err)
	}
	var out []backends.Spare
	for _, n := range list.Items {
		if labName != "" && n.Labels[labelLab] != labName {
			continue
		}
		users, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("network", n.ID)})
		if err != nil {
			return nil, p.fail("list containers", err)
		}
		if len(users.Items) == 0 {
			out = append(out, backends.Spare{Type: "network", Name: n.Name})
		}
	}
	left, err := p.remains(ctx, cli, labName)
	if err != nil {
		return out, p.fail("list networks", err)
	}
	folders, err := p.spareFolders(ctx, cli, labName)
	return slices.Concat(out, left, folders), p.fail("list containers", err)
}

// Sweep implements backends.Sweeper.
func (p *Provider) Sweep(ctx context.Context, s backends.Spare) error {
	cli, err := p.Client()
	if err != nil {
		return err
	}
	switch s.Type {
	case spareFolder:
		return p.Remove(ctx, backends.NodeRef{Lab: s.Lab, Node: s.Node})
	case spareRemains:
		p.mgmt.Lock()
		defer p.mgmt.Unlock()
		return p.fail("what is left of bridge "+s.Name, p.tidy(ctx, cli, func(n Network) bool { return n.Bridge == s.Name }))
	}
	return p.fail("management network "+s.Name, p.leave(ctx, cli, s.Name))
}

// leave removes a management network that no container uses any more, if we
// made it.
func (p *Provider) leave(ctx context.Context, cli *client.Client, name string) error {
	p.mu.Lock()
	for _, n := range p.nodes {
		if n.stays() == name {
			p.mu.Unlock()
			return nil
		}
	}
	p.mu.Unlock()
	p.mgmt.Lock()
	defer p.mgmt.Unlock()
	have, err := p.networks(ctx, cli, name)
	if err != nil {
		return err
	}
	for _, n := range have {
		if n.Labels[labelHome] != p.home() {
			continue
		}
		// One that does not run is not listed with the network.
		list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("network", n.ID)})
		if err != nil {
			return err
		}
		if len(list.Items) > 0 {
			continue
		}
		bridge, err := p.bridge(ctx, cli, n) // as long as it is there to be asked for
		if err == nil {
			err = p.noteNetwork(n, bridge)
		}
		if err != nil && !cerrdefs.IsNotFound(err) {
			return err
		}
		if p.cfg.RemoveNetwork != nil {
			err = p.cfg.RemoveNetwork(ctx, cli, n.Name)
		} else {
			_, err = cli.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		}
		if err != nil && busy(err) {
			continue
		}
		if err != nil && !cerrdefs.IsNotFound(err) {
			return err
		}
	}
	return p.tidy(ctx, cli, func(n Network) bool { return n.Name == name })
}

// busy reports that somebody has just come to use what was to be removed.
func busy(err error) bool {
	return cerrdefs.IsConflict(err) || cerrdefs.IsPermissionDenied(err) || errors.Is(err, backends.ErrConflict)
}
