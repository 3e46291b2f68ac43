package dockerapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/fail"
)

// A management network of ours leaves more on the machine than the engine takes
// with it: our rule in the firewall and, of some engines, what they make for a
// network. So it is noted what there was, for whoever comes when the network is
// gone, be it that somebody else has removed it.

// Network is what is noted of a management network.
type Network struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Bridge  string         `json:"bridge"`
	Subnets []netip.Prefix `json:"subnets"`
	Lab     string         `json:"lab"` // that had it made
}

// networksFolder is where it is noted, a file for each bridge. No lab is called
// so.
const networksFolder = ".networks"

const spareRemains = "network remains"

func (p *Provider) noteOf(bridge string) string {
	return filepath.Join(p.cfg.Run, networksFolder, bridge+".json")
}

// noteNetwork notes a network of ours.
func (p *Provider) noteNetwork(n network.Summary, bridge string) error {
	if p.cfg.Access == nil && p.cfg.Gone == nil || bridge == "" {
		return nil
	}
	note := Network{ID: n.ID, Name: n.Name, Bridge: bridge, Lab: n.Labels[labelLab]}
	for _, c := range n.IPAM.Config {
		note.Subnets = append(note.Subnets, c.Subnet)
	}
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	file := p.noteOf(bridge)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return fail.Around("network.note", func() error { return os.Rename(file+".new", file) })
}

// noted are the networks of ours that are noted.
func (p *Provider) noted() []Network {
	files, _ := filepath.Glob(p.noteOf("*"))
	var out []Network
	for _, f := range files {
		var n Network
		text, err := os.ReadFile(f)
		if err == nil && json.Unmarshal(text, &n) == nil && n.Bridge+".json" == filepath.Base(f) && !strings.Contains(n.Bridge, "/") {
			out = append(out, n)
		}
	}
	return out
}

// gone are the noted networks that are not there any more, or are another's now.
// taken are the bridges of those that are there.
func (p *Provider) gone(ctx context.Context, cli *client.Client) (out []Network, taken map[string]bool, err error) {
	notes := p.noted()
	if len(notes) == 0 {
		return nil, nil, nil
	}
	list, err := cli.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, nil, err
	}
	taken, ours := map[string]bool{}, map[string]bool{}
	for _, n := range list.Items {
		if n.Driver != "bridge" {
			continue
		}
		bridge, err := p.bridge(ctx, cli, n)
		if cerrdefs.IsNotFound(err) {
			continue // it has just gone
		}
		if err != nil {
			return nil, nil, err
		}
		taken[bridge] = true
		if n.Labels[labelHome] == p.home() {
			ours[n.ID+" "+bridge] = true
		}
	}
	for _, n := range notes {
		if !ours[n.ID+" "+n.Bridge] {
			out = append(out, n)
		}
	}
	return out, taken, nil
}

// tidy removes what is left of networks that are gone, of those that which
// chooses.
func (p *Provider) tidy(ctx context.Context, cli *client.Client, which func(Network) bool) error {
	all, taken, err := p.gone(ctx, cli)
	errs := []error{err}
	for _, n := range all {
		if which(n) {
			errs = append(errs, p.forgetNetwork(ctx, n, taken[n.Bridge]))
		}
	}
	return errors.Join(errs...)
}

// forgetNetwork removes what is left of one. Its bridge may be another's.
func (p *Provider) forgetNetwork(ctx context.Context, n Network, taken bool) error {
	if p.cfg.Access != nil {
		if err := p.cfg.Access(ctx, n.Bridge, nil); err != nil {
			return err
		}
	}
	if p.cfg.Gone != nil && !taken {
		if err := p.cfg.Gone(ctx, n); err != nil {
			return err
		}
	}
	delete(p.opened, n.ID)
	return fail.Around("network.note", func() error {
		file := p.noteOf(n.Bridge)
		err := ignore(os.Remove(file), os.ErrNotExist)
		_ = os.Remove(filepath.Dir(file)) // with the last
		return errors.Join(err, p.removeGate())
	})
}

// remains are what is left of networks that are gone, as spares.
func (p *Provider) remains(ctx context.Context, cli *client.Client, labName string) ([]backends.Spare, error) {
	p.mgmt.Lock()
	defer p.mgmt.Unlock()
	all, _, err := p.gone(ctx, cli)
	var out []backends.Spare
	for _, n := range all {
		if labName == "" || n.Lab == labName {
			out = append(out, backends.Spare{Type: spareRemains, Name: n.Bridge})
		}
	}
	return out, err
}
