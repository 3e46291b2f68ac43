package vendors

import (
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"archetype/internal/gotemplate"
	"archetype/lab"
)

// File is made for each node of the kind before its init begins, each time
// anew. Only providers that run images place it.
type File struct {
	Path string `yaml:"path" json:"path"` // absolute, in the node; a template as Text is
	// Text is a Go template, with the functions of a topology's templates and
	// what Vars tells of the node.
	Text string `yaml:"text,omitempty" json:"text,omitempty"`
	// Keep leaves the file as the node has written it.
	Keep bool `yaml:"keep,omitempty" json:"keep,omitempty"`
}

// Vars are what the templates of a kind, and startup configurations that are
// templates, know of their node. Where containerlab's templates have the same,
// the name is theirs.
type Vars struct {
	ShortName, LongName, Hostname, Fqdn, LabName string // of the node; LongName is the container's
	Kind, NodeType, Group, Image                 string
	Index                                        int // of the node in its lab, from 0; it stays while the node is there
	Env, Labels                                  map[string]string

	// The management network, empty where the node is not in it. The engine
	// that runs the image knows the addresses only once the node starts.
	MgmtNet                                        string
	MgmtIPv4Address, MgmtIPv4Gateway, MgmtIPv4Mask string
	MgmtIPv6Address, MgmtIPv6Gateway               string
	MgmtIPv4PrefixLength, MgmtIPv6PrefixLength     int

	License       string   // the text
	StartupConfig string   // the text that the topology gives, unless it is partial
	PartialCfg    string   // the text that the topology gives, if it is partial
	SSHPubKeys    []string // none is given
	Processors    int
	Interfaces    []VarsInterface
}

// VarsInterface is what a template knows of an interface.
type VarsInterface struct {
	Name             string // the kernel's
	Alias            string // the device's own, where the topology uses it
	Number           int    // the last number in Name
	MAC              string
	IPv4, IPv6       string // with the prefix length; the first that the topology gives
	IPv4Address      string
	IPv4Mask         string
	IPv4PrefixLength int
}

// maxMade bounds what one file may become.
const maxMade = 16 << 20

// Render makes a text of a template.
func (v *Vars) Render(name, text string) (string, error) {
	return gotemplate.Render(name, text, v, maxMade)
}

// Management notes an address of the node in its management network.
func (v *Vars) Management(address netip.Prefix, gateway netip.Addr) {
	gw := ""
	if gateway.IsValid() {
		gw = gateway.String()
	}
	if address.Addr().Is4() {
		v.MgmtIPv4Address, v.MgmtIPv4PrefixLength, v.MgmtIPv4Gateway = address.Addr().String(), address.Bits(), gw
		v.MgmtIPv4Mask = mask(address)
	} else {
		v.MgmtIPv6Address, v.MgmtIPv6PrefixLength, v.MgmtIPv6Gateway = address.Addr().String(), address.Bits(), gw
	}
}

// mask writes the length of an IPv4 prefix as older devices want it.
func mask(p netip.Prefix) string {
	m := ^uint32(0) << (32 - p.Bits())
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

var lastNumber = regexp.MustCompile(`[0-9]{1,9}$`)

// VarsOf is what is known of an interface from the topology; alias may be empty.
func VarsOf(e lab.End, alias string) VarsInterface {
	out := VarsInterface{Name: e.Interface, Alias: alias, MAC: e.MAC}
	out.Number, _ = strconv.Atoi(lastNumber.FindString(e.Interface))
	if len(e.IPv4) > 0 {
		p := e.IPv4[0]
		out.IPv4, out.IPv4Address, out.IPv4Mask, out.IPv4PrefixLength = p.String(), p.Addr().String(), mask(p), p.Bits()
	}
	if len(e.IPv6) > 0 {
		out.IPv6 = e.IPv6[0].String()
	}
	return out
}

// For returns where a configuration goes, and the command that has the device
// take it, where it needs one.
func (s *StartupConfig) For(config string) (path, apply string) {
	for _, f := range s.Forms {
		if ok, _ := regexp.MatchString(f.Match, config); ok && config != "" {
			return f.Path, f.Apply
		}
	}
	return s.Path, ""
}

// isPartial reports whether a configuration is put into the default one. name
// is that of its file, empty for one that stands in the topology.
func (s *StartupConfig) isPartial(name string) bool {
	return s.Partial && (name == "" || partialName(name))
}

// partialName is how containerlab tells a configuration that is a part.
func partialName(name string) bool {
	return strings.Contains(strings.ToUpper(path.Base(name)), ".PARTIAL")
}

// NodeFiles are the files of a node, with its startup configuration among them
// where the kind takes that as a template: paths are final, texts are templates.
// name is that of the configuration's file and config its text; both may be
// empty. v learns of the configuration.
func (k *Kind) NodeFiles(v *Vars, name, config string, suppress bool) ([]File, error) {
	s := k.StartupConfig
	if config != "" && s.isPartial(name) {
		v.PartialCfg, config = config, ""
	}
	v.StartupConfig = config
	files := slices.Clone(k.Files)
	if s.Template && s.Path != "" && !suppress {
		if config == "" {
			config = s.Default
		}
		if config != "" {
			path, _ := s.For(config)
			files = append(files, File{Path: path, Text: config, Keep: true})
		}
	}
	for i, f := range files {
		var err error
		if files[i].Path, err = v.Render("path", f.Path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Types are the values that the field type of a node of the kind may have, in
// either case; none: any.
func (r *Registry) Types(kind string) []string {
	k, ok := r.Kind(kind)
	if !ok {
		return nil
	}
	return k.Types
}
