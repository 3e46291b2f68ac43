package dockerapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/bounded"
	"archetype/lab"
	"archetype/vendors"
)

// made are the files that a kind has made for each of its nodes. They lie in
// the node's own folder and are mounted into it, so that they can be written
// when the addresses of the management network are known, which is while the
// node waits at its gate.
type made struct {
	Vars  vendors.Vars `json:"vars"`
	Files []madeFile   `json:"files,omitempty"`
}

type madeFile struct {
	Own    string `json:"own"` // the node's own folder
	Source string `json:"source"`
	Target string `json:"target"`
	Text   string `json:"text"` // a template
	Keep   bool   `json:"keep,omitempty"`
	// Mounted says that a folder which is mounted holds it already.
	Mounted bool `json:"mounted,omitempty"`
}

// varsOf are the node's interfaces as its files tell of them.
func varsOf(c backends.NodeConfig) []vendors.VarsInterface {
	var out []vendors.VarsInterface
	for _, e := range c.Ends {
		out = append(out, vendors.VarsOf(e, aliasOf(c.Node, e.Interface)))
	}
	return out
}

// made says which files the node gets, and writes none.
func (p *Provider) made(n *node, c backends.NodeConfig, management string) (made, error) {
	k := c.Kind
	m := made{Vars: vendors.Vars{ShortName: c.Ref.Node, LongName: containerName(c), Hostname: or(c.Node.Container.Hostname, c.Ref.Node),
		Fqdn: c.Ref.Node + "." + c.Ref.Lab + ".io", LabName: c.Ref.Lab, Kind: k.Name, NodeType: strings.ToLower(c.Node.Type),
		Group: c.Node.Group, Image: imageName(c), Env: c.Node.Env, Labels: c.Node.Labels, MgmtNet: management, Processors: runtime.NumCPU()}}
	m.Vars.Index = p.index(n, c.Index)
	m.Vars.Interfaces = varsOf(c)
	files, err := k.NodeFiles(&m.Vars, c.Node.StartupConfig, c.Config, c.Node.SuppressConfig)
	if err != nil {
		return m, err
	}
	if len(files) > 0 && k.License.Path != "" {
		if m.Vars.License, err = license(c); err != nil {
			return m, err
		}
	}
	for _, f := range files {
		if slices.ContainsFunc(c.Node.Binds, func(b string) bool {
			bind, err := lab.ParseBind(b)
			return err == nil && bind.Target == filepath.Clean(f.Path)
		}) {
			continue // the topology brings its own
		}
		source, ok := p.mounted(c, f.Path)
		if !ok {
			source = filepath.Join(p.own(c.Ref), "files", filepath.Clean(f.Path))
		}
		m.Files = append(m.Files, madeFile{p.own(c.Ref), source, f.Path, f.Text, f.Keep, ok})
		if _, err := m.Vars.Render(f.Path, f.Text); err != nil {
			return m, err
		}
	}
	return m, nil
}

// aliasOf is the device's own name of an interface, where the topology uses it.
func aliasOf(n lab.Node, kernel string) string {
	for alias, name := range n.Aliases {
		if name == kernel {
			return alias
		}
	}
	return ""
}

// license is the text of the node's licence.
func license(c backends.NodeConfig) (string, error) {
	for _, b := range c.Node.Binds {
		if bind, err := lab.ParseBind(b); err == nil && bind.Target == c.Kind.License.Path {
			text, err := bounded.ReadFile(bind.Source, 1<<20)
			return strings.TrimSpace(string(text)), err
		}
	}
	return "", nil
}

// index is the node's number in its lab: its place in the file if it is free,
// and for as long as it is there the one that it once had.
func (p *Provider) index(n *node, want int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := n.known().Index; have > 0 {
		return have - 1
	}
	taken := map[int]bool{}
	for ref, other := range p.nodes {
		if ref.Lab == n.ref.Lab {
			taken[other.known().Index] = true
		}
	}
	if taken[want+1] {
		for want = 0; taken[want+1]; want++ {
		}
	}
	n.state.Lock()
	n.kept.Index = want + 1 // nobody else takes it until it is noted
	n.state.Unlock()
	return want
}

// place writes those files that are not there yet, so that the engine does not
// make folders in their stead, and the startup configuration if it is another.
func (p *Provider) place(n *node, c backends.NodeConfig, m made, changed bool) error {
	config, _ := c.Kind.StartupConfig.For(c.Config)
	for _, f := range m.Files {
		_, err := os.Lstat(f.Source)
		anew := f.Target == config && (changed || c.Node.EnforceConfig)
		if err == nil && !anew {
			continue
		}
		text, err := m.Vars.Render(f.Target, f.Text)
		if err == nil {
			err = n.writeMade(f, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fill writes the node's files while its init waits.
func (p *Provider) fill(ctx context.Context, n *node) error {
	k := n.known()
	if len(k.Made.Files) == 0 {
		return nil
	}
	if k.Management != "" {
		if err := p.addresses(ctx, &k); err != nil {
			return err
		}
	}
	for _, f := range k.Made.Files {
		text, err := k.Made.Vars.Render(f.Target, f.Text)
		if err != nil {
			return err
		}
		if f.Keep {
			have, err := bounded.ReadFile(f.Source, maxMade)
			if err == nil && !n.wrote(f, have) {
				continue // the node's own by now
			}
		}
		if err := n.writeMade(f, text); err != nil {
			return err
		}
	}
	return nil
}

const maxMade = 64 << 20

// addresses asks the engine for those that it has given to the node.
func (p *Provider) addresses(ctx context.Context, k *kept) error {
	cli, err := p.Client()
	if err != nil {
		return err
	}
	have, err := cli.ContainerInspect(ctx, or(k.ID, k.Container), client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if have.Container.NetworkSettings == nil {
		return nil
	}
	e := have.Container.NetworkSettings.Networks[k.Management]
	if e == nil {
		return nil
	}
	if e.IPAddress.IsValid() {
		k.Made.Vars.Management(netip.PrefixFrom(e.IPAddress, e.IPPrefixLen), e.Gateway)
	}
	if e.GlobalIPv6Address.IsValid() {
		k.Made.Vars.Management(netip.PrefixFrom(e.GlobalIPv6Address, e.GlobalIPv6PrefixLen), e.IPv6Gateway)
	}
	return nil
}

// writeMade writes a file in place, for it may be mounted, and notes what was
// written.
func (n *node) writeMade(f madeFile, text string) error {
	if err := os.MkdirAll(filepath.Join(n.dir, "made"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(n.sumOf(f), []byte(sum([]byte(text))), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Own, 0o755); err != nil {
		return err
	}
	own, err := os.OpenRoot(f.Own) // no link that the node has put there leads out
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	name, err := filepath.Rel(f.Own, f.Source)
	if err != nil {
		return err
	}
	if st, err := own.Lstat(name); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("file %s: the node has made something else of it", f.Target)
	}
	if err := own.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return own.WriteFile(name, []byte(text), mode(text))
}

// wrote reports whether it was us who wrote this.
func (n *node) wrote(f madeFile, have []byte) bool {
	noted, err := os.ReadFile(n.sumOf(f))
	return err == nil && string(noted) == sum(have)
}

func (n *node) sumOf(f madeFile) string { return filepath.Join(n.dir, "made", sum([]byte(f.Target))) }

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// mounts are the binds of the files.
func (m made) mounts() []string {
	var out []string
	for _, f := range m.Files {
		if !f.Mounted {
			out = append(out, f.Source+":"+f.Target)
		}
	}
	return out
}
