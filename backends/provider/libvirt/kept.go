package libvirt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"archetype/backends"
	"archetype/backends/provider/serialline"
	failpoint "archetype/internal/fail"
	"archetype/vendors"
)

// kept is what is remembered of a node beside its domain, in its folder. All
// of it can be had again by making the node anew.
type kept struct {
	VM    vendors.VM    `json:"vm"`
	NICs  []nic         `json:"nics"`
	Boot  uint64        `json:"boot"`   // of the latest start
	LogAt int64         `json:"log_at"` // where its serial line's record begins, in bytes
	Facts vendors.Facts `json:"facts"`
	// Ways lead to ports of the device, by port.
	Ways map[int]forwarded `json:"ways,omitempty"`
}

// nic is an interface of a node.
type nic struct {
	Name string `json:"name"`
	MAC  string `json:"mac"`
	Tap  string `json:"tap"`
}

const (
	keptFile   = "node.json"
	domainFile = "domain.xml"
)

func (p *Provider) read(ref backends.NodeRef) (*kept, error) {
	data, err := os.ReadFile(filepath.Join(p.folder(ref), keptFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, gone(ref)
	}
	if err != nil {
		return nil, err
	}
	k := &kept{}
	if err := json.Unmarshal(data, k); err != nil {
		return nil, fmt.Errorf("node %s: what is kept of it: %w", ref.Node, err)
	}
	p.boots.Met(k.Boot)
	return k, nil
}

func (p *Provider) write(ref backends.NodeRef, k *kept) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return replace(filepath.Join(p.folder(ref), keptFile), data)
}

// replace writes a file in one step.
func replace(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return failpoint.Around("machine.note", func() error { return os.Rename(tmp, path) })
}

// begun notes that the node starts, and where its record begins.
func (p *Provider) begun(ref backends.NodeRef) error {
	return p.change(ref, func(k *kept) {
		k.Boot = p.boots.Next(k.Boot, time.Now())
		k.LogAt = 0
		if st, err := os.Stat(filepath.Join(p.folder(ref), serialline.Record)); err == nil {
			k.LogAt = st.Size()
		}
	})
}

// change changes what is kept of a node.
func (p *Provider) change(ref backends.NodeRef, f func(*kept)) error {
	p.keeping.Lock()
	defer p.keeping.Unlock()
	k, err := p.read(ref)
	if err != nil {
		return err
	}
	f(k)
	return p.write(ref, k)
}

// naming is how a kind numbers its interfaces.
type naming struct {
	pattern string
	first   int
	match   *regexp.Regexp
}

func namingOf(i vendors.Interfaces) naming {
	n := naming{pattern: i.Pattern, first: i.First}
	if n.pattern == "" {
		n.pattern, n.first = "eth{n}", 1
	}
	n.match = regexp.MustCompile("^" + strings.Replace(regexp.QuoteMeta(n.pattern), `\{n\}`, `(\d+)`, 1) + "$")
	return n
}

func (n naming) name(index int) string {
	return strings.Replace(n.pattern, "{n}", strconv.Itoa(n.first+index), 1)
}

// index is an interface's place among those that have a link, -1 for none.
func (n naming) index(name string) int {
	m := n.match.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	v, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return v - n.first
}

// mostNICs is how many a machine can have.
const mostNICs = 128

// nics are the interfaces of a node in the order in which the device finds
// them: those with a link, those between them, and what the kind always has.
func (p *Provider) nics(c backends.NodeConfig) ([]nic, error) {
	names, count := namingOf(c.Kind.Interfaces), c.Kind.VM.NICs
	given := map[string]string{}
	for _, e := range c.Ends {
		given[e.Interface] = e.MAC
	}
	for _, name := range c.Interfaces {
		i := names.index(name)
		if i < 0 || i >= mostNICs {
			return nil, fmt.Errorf("interface %s: a virtual machine's are %s to %s (%w)", name, names.name(0), names.name(mostNICs-1), backends.ErrConflict)
		}
		count = max(count, i+1)
	}
	out := make([]nic, count)
	for i := range out {
		name := names.name(i)
		hw, err := mac(c.Ref.Lab, c.Ref.Node+":"+name, given[name])
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		out[i] = nic{Name: name, MAC: hw, Tap: p.tapName(c.Ref, name)}
	}
	return out, nil
}

// seed is a text of the node's seed with what is the node's own in it.
func (k *kept) seed(c backends.NodeConfig, text string) string {
	var management *vendors.SeedInterface
	if k.VM.Management {
		management = &vendors.SeedInterface{Name: either(c.Kind.Interfaces.Management, "management"), MAC: managementMAC(c.Ref)}
	}
	var others []vendors.SeedInterface
	for _, n := range k.NICs {
		others = append(others, vendors.SeedInterface{Name: n.Name, MAC: n.MAC})
	}
	return k.Facts.Seed(text, management, others)
}
