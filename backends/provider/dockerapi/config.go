package dockerapi

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/google/shlex"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/gate"
	"archetype/lab"
	"archetype/vendors"
)

// readOnly are the parts of /proc that a node may not write. An engine by
// itself adds all of /proc/sys; the part about the network is the node's own.
var readOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger", "/proc/sys/abi",
	"/proc/sys/crypto", "/proc/sys/debug", "/proc/sys/dev", "/proc/sys/fs", "/proc/sys/kernel", "/proc/sys/sunrpc",
	"/proc/sys/user", "/proc/sys/vm"}

// request is the container that a node is to be. The image says what it runs
// where the topology and the kind don't.
func (p *Provider) request(c backends.NodeConfig, image *container.Config, management string, m made) (client.ContainerCreateOptions, error) {
	spec, k, dc := c.Node, c.Kind, c.Node.Container
	var none client.ContainerCreateOptions
	argv, err := commandLine(c, image)
	if err != nil {
		return none, err
	}
	env, err := environment(c, &m.Vars)
	if err != nil {
		return none, err
	}
	cfg := &container.Config{
		Hostname: or(dc.Hostname, c.Ref.Node), Image: imageName(c), User: spec.User, Env: env,
		Entrypoint: []string{gate.Folder + "/" + gate.Program}, Cmd: argv, Labels: p.labels(c, management),
		// A shell as the only process goes on while it has a terminal.
		Tty: true, OpenStdin: true,
	}
	privileged := k.Privileged
	if dc.Privileged != nil {
		privileged = *dc.Privileged
	}
	host := &container.HostConfig{
		Privileged: privileged, CapAdd: slices.Concat(k.Capabilities, dc.Capabilities),
		Sysctls: sysctls(c), SecurityOpt: dc.SecurityOpt, ShmSize: dc.ShmSize, AutoRemove: dc.AutoRemove,
		PidMode: container.PidMode(p.sharing(c, dc.PIDMode)), CgroupnsMode: container.CgroupnsMode(dc.CgroupMode),
		ExtraHosts: extraHosts(c.Hosts),
	}
	host.Memory, host.CpusetCpus, host.CgroupParent = dc.Memory, dc.CPUSet, dc.CgroupParent
	host.NanoCPUs = int64(dc.CPU * 1e9)
	if !privileged && !sharesNetwork(dc.NetworkMode) {
		host.ReadonlyPaths = readOnly
	}
	if host.Binds, err = p.binds(c); err != nil {
		return none, err
	}
	host.Binds = append(host.Binds, m.mounts()...)
	if host.RestartPolicy, err = restartPolicy(dc.RestartPolicy); err != nil {
		return none, err
	}
	if host.ShmSize == 0 {
		host.ShmSize = k.ShmSize
	}
	for _, d := range k.Devices {
		if _, err := os.Stat(d); err == nil && !slices.Contains(dc.Devices, d) {
			host.Devices = append(host.Devices, device(d))
		}
	}
	for _, d := range dc.Devices {
		host.Devices = append(host.Devices, device(d))
	}
	for _, u := range dc.Ulimits {
		limit, err := units.ParseUlimit(u)
		if err != nil {
			return none, fmt.Errorf("ulimit %q: %w", u, err)
		}
		host.Ulimits = append(host.Ulimits, limit)
	}
	for _, t := range dc.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		path, options, _ := strings.Cut(t, ":")
		host.Tmpfs[path] = options
	}
	for _, v := range dc.Volumes {
		if name, _, ok := strings.Cut(v, ":"); ok && name != "" {
			host.Binds = append(host.Binds, v)
		} else {
			if cfg.Volumes == nil {
				cfg.Volumes = map[string]struct{}{}
			}
			cfg.Volumes[v] = struct{}{}
		}
	}
	if cfg.ExposedPorts, host.PortBindings, err = ports(dc.Ports); err != nil {
		return none, err
	}
	if h := dc.Healthcheck; h != nil {
		cfg.Healthcheck = &container.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, Retries: h.Retries}
	}
	if d := dc.DNS; d != nil {
		for _, s := range d.Servers {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return none, fmt.Errorf("dns server %q: %w", s, err)
			}
			host.DNS = append(host.DNS, a)
		}
		host.DNSSearch, host.DNSOptions = d.Search, d.Options
	}
	req := client.ContainerCreateOptions{Name: containerName(c), Config: cfg, HostConfig: host}
	if err := p.connectTo(c, management, &req); err != nil {
		return none, err
	}
	return req, nil
}

// connectTo says to which networks of the engine's the container belongs.
func (p *Provider) connectTo(c backends.NodeConfig, management string, req *client.ContainerCreateOptions) error {
	dc := c.Node.Container
	switch {
	case dc.NetworkMode == "host":
		if len(c.Interfaces) > 0 {
			return fmt.Errorf("network-mode host: a node in the machine's own network cannot have links (%s): remove the links or the network-mode (%w)",
				strings.Join(c.Interfaces, ", "), backends.ErrUnsupported)
		}
		req.Config.Hostname, req.HostConfig.Sysctls, req.HostConfig.ExtraHosts = "", c.Node.Sysctls, nil
		req.HostConfig.NetworkMode = "host"
	case strings.HasPrefix(dc.NetworkMode, "container:"):
		req.Config.Hostname, req.Config.ExposedPorts, req.HostConfig.PortBindings, req.HostConfig.ExtraHosts = "", nil, nil, nil
		req.HostConfig.NetworkMode = container.NetworkMode(p.sharing(c, dc.NetworkMode))
	case management == "":
		req.HostConfig.NetworkMode = "none"
	default:
		e := &network.EndpointSettings{Aliases: dc.Aliases}
		var v4, v6 netip.Addr
		var err error
		if dc.ManagementIPv4 != "" {
			if v4, err = netip.ParseAddr(dc.ManagementIPv4); err != nil {
				return fmt.Errorf("mgmt-ipv4: %w", err)
			}
		}
		if dc.ManagementIPv6 != "" {
			if v6, err = netip.ParseAddr(dc.ManagementIPv6); err != nil {
				return fmt.Errorf("mgmt-ipv6: %w", err)
			}
		}
		if v4.IsValid() || v6.IsValid() {
			e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: v4, IPv6Address: v6}
		}
		req.HostConfig.NetworkMode = container.NetworkMode(management)
		req.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{management: e}}
	}
	return nil
}

func sharesNetwork(mode string) bool { return mode == "host" || strings.HasPrefix(mode, "container:") }

// sharing turns container:NODE into the engine's name of that node, where the
// lab has one; anything else is left as it is.
func (p *Provider) sharing(c backends.NodeConfig, mode string) string {
	name, ok := strings.CutPrefix(mode, "container:")
	if !ok {
		return mode
	}
	other := backends.NodeRef{Lab: c.Ref.Lab, Node: name}
	if _, err := os.Stat(p.folder(other)); err == nil {
		if known := p.node(other).known(); known.Container != "" {
			return "container:" + known.Container
		}
	}
	return mode
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func imageName(c backends.NodeConfig) string {
	if c.Node.Image == "" && len(c.Kind.Images) > 0 {
		return c.Kind.Images[0]
	}
	return c.Node.Image
}

// commandLine is what the container is to run, by the engine's own rule: an
// entry point that is not the image's makes the image's arguments moot.
func commandLine(c backends.NodeConfig, image *container.Config) ([]string, error) {
	entry, cmd := image.Entrypoint, image.Cmd
	if len(c.Kind.Entrypoint) > 0 {
		entry, cmd = c.Kind.Entrypoint, nil
	}
	if len(c.Kind.Command) > 0 {
		cmd = c.Kind.Command
	}
	if c.Node.Entrypoint != "" {
		words, err := shlex.Split(c.Node.Entrypoint)
		if err != nil {
			return nil, fmt.Errorf("entrypoint %q: %w", c.Node.Entrypoint, err)
		}
		entry, cmd = words, nil
	}
	if c.Node.Cmd != "" {
		words, err := shlex.Split(c.Node.Cmd)
		if err != nil {
			return nil, fmt.Errorf("cmd %q: %w", c.Node.Cmd, err)
		}
		cmd = words
	}
	argv := slices.Concat(entry, cmd)
	if len(argv) == 0 {
		return nil, fmt.Errorf("image %s runs nothing by itself: give the node a cmd or an entrypoint (%w)", imageName(c), backends.ErrUnsupported)
	}
	return argv, nil
}

func environment(c backends.NodeConfig, vars *vendors.Vars) ([]string, error) {
	env := map[string]string{}
	for name, value := range c.Kind.Env {
		var err error
		if env[name], err = vars.Render("env "+name, value); err != nil {
			return nil, err
		}
	}
	for _, o := range c.Kind.Options {
		if o.Env != "" && o.Default != "" {
			env[o.Env] = o.Default
		}
	}
	if w := c.Kind.InterfaceWait.EnvVar; w != "" {
		env[w] = strconv.Itoa(len(c.Interfaces))
	}
	if name, value, ok := c.Kind.Interfaces.Env.Variable(c.Interfaces); ok {
		env[name] = value
	}
	maps.Copy(env, c.Node.Env)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out, nil
}

// sysctls are the kind's and the node's, after what every lab needs: engines
// turn IPv6 off where they themselves use none.
func sysctls(c backends.NodeConfig) map[string]string {
	if sharesNetwork(c.Node.Container.NetworkMode) {
		return c.Node.Sysctls
	}
	out := map[string]string{"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.default.disable_ipv6": "0"}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		clear(out) // a machine without IPv6
	}
	maps.Copy(out, c.Kind.Sysctls)
	maps.Copy(out, c.Node.Sysctls)
	return out
}

// extraHosts turns lines of /etc/hosts into what the engine puts there.
func extraHosts(hosts string) []string {
	var out []string
	for line := range strings.Lines(hosts) {
		if f := strings.Fields(line); len(f) > 1 {
			for _, name := range f[1:] {
				out = append(out, name+":"+f[0])
			}
		}
	}
	return out
}

func (p *Provider) binds(c backends.NodeConfig) ([]string, error) {
	out := []string{filepath.Join(p.folder(c.Ref), "box") + ":" + gate.Folder + ":ro"}
	for _, m := range c.Kind.Mounts {
		if bind, _, ok := bound(c, m.Target); ok && bind.Target == path.Clean(m.Target) {
			continue // the topology brings its own
		}
		if !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(p.own(c.Ref), m.Source)
			if err := os.MkdirAll(m.Source, 0o755); err != nil {
				return nil, err
			}
		}
		b := m.Source + ":" + m.Target
		if m.ReadOnly {
			b += ":ro"
		}
		out = append(out, b)
	}
	for _, b := range c.Node.Binds {
		m, err := lab.ParseBind(b)
		if err != nil {
			return nil, err
		}
		if filepath.IsAbs(m.Source) {
			if _, err := os.Stat(m.Source); err != nil {
				return nil, fmt.Errorf("bind %q: %w", b, err)
			}
		}
		out = append(out, b)
	}
	return out, nil
}

func device(s string) container.DeviceMapping {
	parts := strings.SplitN(s, ":", 3)
	d := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
	if len(parts) > 1 {
		d.PathInContainer = parts[1]
	}
	if len(parts) > 2 {
		d.CgroupPermissions = parts[2]
	}
	return d
}

func restartPolicy(s string) (container.RestartPolicy, error) {
	name, count, ok := strings.Cut(s, ":")
	r := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if ok {
		n, err := strconv.Atoi(count)
		if err != nil {
			return r, fmt.Errorf("restart-policy %q: %q is no number", s, count)
		}
		r.MaximumRetryCount = n
	}
	if err := container.ValidateRestartPolicy(r); err != nil {
		return r, fmt.Errorf("restart-policy: %w", err)
	}
	return r, nil
}

func ports(specs []string) (network.PortSet, network.PortMap, error) {
	if len(specs) == 0 {
		return nil, nil, nil
	}
	exposed, bound, err := nat.ParsePortSpecs(specs)
	if err != nil {
		return nil, nil, fmt.Errorf("ports: %w", err)
	}
	set, bindings := network.PortSet{}, network.PortMap{}
	for port := range exposed {
		q, err := network.ParsePort(string(port))
		if err != nil {
			return nil, nil, fmt.Errorf("ports: %w", err)
		}
		set[q] = struct{}{}
		for _, b := range bound[port] {
			nb := network.PortBinding{HostPort: b.HostPort}
			if b.HostIP != "" {
				if nb.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
					return nil, nil, fmt.Errorf("ports: %w", err)
				}
			}
			bindings[q] = append(bindings[q], nb)
		}
	}
	return set, bindings, nil
}
