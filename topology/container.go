package topology

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"archetype/lab"
)

var portForm = regexp.MustCompile(`^((\[[0-9a-fA-F:.]+\]|[0-9.]+)?:)?(([0-9]{1,5}(-[0-9]{1,5})?)?:)?[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?$`)

var ulimitForm = regexp.MustCompile(`^[a-z]+=-?[0-9]+(:-?[0-9]+)?$`)

// container is what the levels say that only containers heed.
func (r *reader) container(l levels) lab.Container {
	c := lab.Container{
		PullPolicy: get[string](l, "image-pull-policy"), Privileged: pointer[bool](l, "privileged"),
		Devices: l.texts("devices"), Ports: get[[]string](l, "ports"), ShmSize: get[int64](l, "shm-size"),
		Memory: get[int64](l, "memory"), CPU: get[float64](l, "cpu"), CPUSet: get[string](l, "cpu-set"),
		SecurityOpt: l.texts("security-opts"), Ulimits: get[[]string](l, "ulimits"),
		RestartPolicy: get[string](l, "restart-policy"), AutoRemove: get[bool](l, "auto-remove"),
		NetworkMode: get[string](l, "network-mode"), Hostname: get[string](l, "hostname"),
		PIDMode: get[string](l, "pid-mode"), CgroupMode: get[string](l, "cgroupns-mode"),
		CgroupParent: get[string](l, "cgroup-parent"),
		DNS:          get[*lab.DNS](l, "dns"), Healthcheck: get[*lab.Healthcheck](l, "healthcheck"),
	}
	own := l[len(l)-1:] // these belong to one node and are not inherited
	c.ManagementIPv4, c.ManagementIPv6 = get[string](own, "mgmt-ipv4"), get[string](own, "mgmt-ipv6")
	c.Aliases = get[[]string](own, "aliases")
	if c.NetworkMode == "bridge" {
		c.NetworkMode = ""
	}
	if c.PIDMode == "private" {
		c.PIDMode = ""
	}
	for _, s := range l.texts("cap-add") {
		s = strings.TrimPrefix(strings.ToUpper(s), "CAP_")
		if !slices.Contains(c.Capabilities, s) {
			c.Capabilities = append(c.Capabilities, s)
		}
	}
	for path, options := range l.merged("tmpfs") {
		if options != "" {
			path += ":" + options
		}
		c.Tmpfs = append(c.Tmpfs, path)
	}
	slices.Sort(c.Tmpfs)
	return c
}

// tmpfs is a map of path to options, or a list of path[:options].
func (r *reader) tmpfs(v *value, what string) map[string]string {
	var out map[string]string
	if v.form == formList {
		out = map[string]string{}
		for _, item := range r.items(v, what) {
			path, options, _ := strings.Cut(item.text, ":")
			out[path] = options
		}
	} else {
		out = r.strMap(v, what)
	}
	for path := range out {
		if !strings.HasPrefix(path, "/") {
			r.errorAt(v.line, v.column, "write /path: options", "%s: %q is not an absolute path", what, path)
		}
	}
	return out
}

// unit factors are as containerlab reads them: k, m, g are thousands, ki, mi,
// gi are 1024s, large or small, with or without a b.
var sizeForm = regexp.MustCompile(`(?i)^\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtpe]?i?)b?\s*$`)

func size(r *reader, v *value, what string) any {
	s := r.str(v, what)
	if s == "" {
		return nil
	}
	m := sizeForm.FindStringSubmatch(s)
	bytes := math.Inf(1)
	if m != nil && !strings.EqualFold(m[2], "i") {
		n, err := strconv.ParseFloat(m[1], 64)
		if err == nil {
			unit := strings.ToLower(m[2])
			base := 1000.0
			if strings.HasSuffix(unit, "i") {
				base = 1024
			}
			power := 0
			if unit != "" {
				power = strings.IndexByte("kmgtpe", unit[0]) + 1
			}
			bytes = n * math.Pow(base, float64(power))
		}
	}
	if bytes >= math.MaxInt64 {
		r.errorAt(v.line, v.column, "write a number with B, KB, MB, GB, KiB, MiB or GiB", "%s: %q is not a size", what, s)
		return nil
	}
	if bytes < 1 {
		return nil
	}
	return int64(bytes)
}

func ip(six bool) func(*reader, *value, string) any {
	return func(r *reader, v *value, what string) any {
		s := r.str(v, what)
		if s == "" {
			return nil
		}
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil && strings.Contains(s, "/"):
			r.errorAt(v.line, v.column, "leave the prefix length out: the subnet stands in mgmt", "%s: %q is not an address", what, s)
		case err != nil:
			r.errorAt(v.line, v.column, "", "%s: %q is not an address", what, s)
		case a.Is4() == six:
			r.errorAt(v.line, v.column, "", "%s: %s belongs to the other family", what, s)
		default:
			return a.String()
		}
		return nil
	}
}

func dns(r *reader, v *value, what string) any {
	if v.form == formNull {
		return nil
	}
	d := &lab.DNS{}
	r.fields(v, what, dnsConstructs, map[string]func(field){
		"servers": func(f field) {
			for _, item := range r.items(f.value, what+": servers") {
				if _, err := netip.ParseAddr(item.text); err != nil {
					r.errorAt(item.line, item.column, "", "%s: %q is not an address", what, item.text)
					continue
				}
				d.Servers = append(d.Servers, item.text)
			}
		},
		"search":  func(f field) { d.Search = r.strs(f.value, what+": search") },
		"options": func(f field) { d.Options = r.strs(f.value, what+": options") },
	})
	return d
}

func healthcheck(r *reader, v *value, what string) any {
	if v.form == formNull {
		return nil
	}
	h := &lab.Healthcheck{}
	span := func(to *time.Duration) func(field) {
		return func(f field) {
			*to, _ = seconds(r, f.value, what+": "+f.name).(time.Duration)
		}
	}
	r.fields(v, what, healthConstructs, map[string]func(field){
		"test": func(f field) {
			if f.value.form == formScalar { // as Docker's own files allow
				h.Test = []string{"CMD-SHELL", f.value.text}
				return
			}
			h.Test = r.strs(f.value, what+": test")
			if len(h.Test) > 0 && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
				at := f.value.items[0]
				r.errorAt(at.line, at.column, fmt.Sprintf("write CMD-SHELL, %s", strings.Join(h.Test, " ")), "%s: test begins with CMD, CMD-SHELL or NONE, not %q", what, h.Test[0])
			}
		},
		"interval": span(&h.Interval), "timeout": span(&h.Timeout), "start-period": span(&h.StartPeriod),
		"retries": func(f field) { h.Retries = r.integer(f.value, what+": retries", 0, 1000) },
	})
	if v.form == formMap && len(h.Test) == 0 {
		r.errorAt(v.line, v.column, "", "%s has no test", what)
	}
	return h
}
