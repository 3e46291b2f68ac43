package enginetest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/lab"
)

func (b *bench) look(ref backends.NodeRef) container.InspectResponse {
	b.Helper()
	res, err := b.cli.ContainerInspect(b.Context(), named(ref), client.ContainerInspectOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return res.Container
}

// kindsAreToldOfTheirInterfaces: how many there are, or which.
func kindsAreToldOfTheirInterfaces(b *bench) {
	change := func(c *backends.NodeConfig) { cmd("exec sleep 1000")(c) }
	xrd := b.create(b.kindConfig("cisco_xrd", "x", change, "Gi0-0-0-0", "Gi0-0-0-1"))
	ceos := b.create(b.kindConfig("ceos", "c", change, "eth1", "eth2"))
	for ref, want := range map[backends.NodeRef]string{
		xrd:  "XR_INTERFACES=linux:Gi0-0-0-0,xr_name=Gi0/0/0/0;linux:Gi0-0-0-1,xr_name=Gi0/0/0/1",
		ceos: "CLAB_INTFS=2",
	} {
		if env := b.look(ref).Config.Env; !slices.Contains(env, want) {
			b.Errorf("%s lacks %s in %q", ref, want, env)
		}
	}
}

// field is what the topology can say of a container, and where the engine
// reports it back.
type field struct {
	name string
	set  func(*backends.NodeConfig)
	got  func(container.InspectResponse) any
	want any
	// holds, where not empty, is run in the node and must succeed: what counts
	// in the end, and all that counts where the engine reports another way.
	holds string
}

func (b *bench) fields() []field {
	dir := b.TempDir()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("bound\n"), 0o644))
	yes := func(list []string, want string) any { return slices.Contains(list, want) }
	port := network.MustParsePort("80/tcp")
	return []field{
		{name: "cmd", set: func(c *backends.NodeConfig) { c.Node.Cmd = `-c "exec sleep 1000"` },
			holds: `[ "$(tr '\0' ' ' </proc/1/cmdline)" = "sleep 1000 " ]`},
		{name: "entrypoint", set: func(c *backends.NodeConfig) { c.Node.Entrypoint = "sh" },
			got: func(c container.InspectResponse) any { return c.Config.Cmd }, want: []string{"sh", "-c", "exec sleep 1000"}},
		{name: "env", set: func(c *backends.NodeConfig) { c.Node.Env = map[string]string{"GREETING": "a b=c"} },
			got: func(c container.InspectResponse) any { return yes(c.Config.Env, "GREETING=a b=c") }, want: true,
			holds: `[ "$GREETING" = "a b=c" ]`},
		{name: "binds", set: func(c *backends.NodeConfig) { c.Node.Binds = []string{dir + ":/mnt/bound:ro"} },
			holds: `grep -q bound /mnt/bound/file && ! touch /mnt/bound/other`},
		{name: "ports", set: func(c *backends.NodeConfig) { c.Node.Container.Ports = []string{"127.0.0.1:18080:80"} },
			got:  func(c container.InspectResponse) any { return c.HostConfig.PortBindings[port] },
			want: []network.PortBinding{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "18080"}}},
		{name: "sysctls", set: func(c *backends.NodeConfig) { c.Node.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"} },
			holds: `[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]`},
		{name: "network settings can be changed inside", holds: `echo 0 > /proc/sys/net/ipv4/ip_forward && ! echo x > /proc/sys/kernel/hostname`},
		{name: "cap-add", set: func(c *backends.NodeConfig) { c.Node.Container.Capabilities = []string{"SYS_NICE"} },
			got: func(c container.InspectResponse) any {
				return slices.ContainsFunc(c.HostConfig.CapAdd, func(s string) bool { return strings.TrimPrefix(s, "CAP_") == "SYS_NICE" })
			}, want: true, holds: `[ $((0x$(sed -n 's/CapEff:\t//p' /proc/self/status) >> 23 & 1)) = 1 ]`},
		{name: "devices", set: func(c *backends.NodeConfig) { c.Node.Container.Devices = []string{"/dev/null:/dev/nothing:rw"} },
			holds: `[ -c /dev/nothing ]`},
		{name: "shm-size", set: func(c *backends.NodeConfig) { c.Node.Container.ShmSize = 8 << 20 },
			got: func(c container.InspectResponse) any { return c.HostConfig.ShmSize }, want: int64(8 << 20),
			holds: `[ "$(df -k /dev/shm | tail -1 | awk '{print $2}')" = 8192 ]`},
		{name: "memory", set: func(c *backends.NodeConfig) { c.Node.Container.Memory = 64 << 20 },
			got: func(c container.InspectResponse) any { return c.HostConfig.Memory }, want: int64(64 << 20)},
		{name: "cpu", set: func(c *backends.NodeConfig) { c.Node.Container.CPU = 0.5 },
			got: func(c container.InspectResponse) any { return c.HostConfig.NanoCPUs }, want: int64(5e8)},
		{name: "cpu-set", set: func(c *backends.NodeConfig) { c.Node.Container.CPUSet = "0" },
			got: func(c container.InspectResponse) any { return c.HostConfig.CpusetCpus }, want: "0",
			holds: `grep -q '^Cpus_allowed_list:.0$' /proc/self/status`},
		{name: "labels", set: func(c *backends.NodeConfig) { c.Node.Labels = map[string]string{"color": "red"} },
			got: func(c container.InspectResponse) any { return c.Config.Labels["color"] }, want: "red",
			holds: `[ "$CLAB_LABEL_COLOR $CLAB_LABEL_CLAB_NODE_NAME $CLAB_LABEL_CONTAINERLAB" = "red a ` + b.lab + `" ]`},
		{name: "containerlab's labels", got: func(c container.InspectResponse) any {
			return c.Config.Labels["containerlab"] + " " + c.Config.Labels["clab-node-name"] + " " + c.Config.Labels["clab-node-kind"]
		}, want: b.lab + " a linux"},
		{name: "dns", set: func(c *backends.NodeConfig) {
			c.Node.Container.DNS = &lab.DNS{Servers: []string{"192.0.2.53"}, Search: []string{"lab.test"}, Options: []string{"ndots:3"}}
		}, got: func(c container.InspectResponse) any {
			return fmt.Sprint(c.HostConfig.DNS, c.HostConfig.DNSSearch, c.HostConfig.DNSOptions)
		},
			want: "[192.0.2.53] [lab.test] [ndots:3]"},
		{name: "restart-policy", set: func(c *backends.NodeConfig) { c.Node.Container.RestartPolicy = "on-failure:3" },
			got:  func(c container.InspectResponse) any { return c.HostConfig.RestartPolicy },
			want: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}},
		{name: "ulimits", set: func(c *backends.NodeConfig) { c.Node.Container.Ulimits = []string{"nofile=512:1024"} },
			holds: `grep -q 'Max open files *512 *1024 ' /proc/1/limits`},
		{name: "tmpfs", set: func(c *backends.NodeConfig) { c.Node.Container.Tmpfs = []string{"/scratch:size=1m"} },
			holds: `[ "$(df -k /scratch | tail -1 | awk '{print $2}')" = 1024 ]`},
		{name: "volumes", set: func(c *backends.NodeConfig) { c.Node.Container.Volumes = []string{"/data"} },
			holds: `grep -q ' /data ' /proc/mounts`},
		{name: "hostname", set: func(c *backends.NodeConfig) { c.Node.Container.Hostname = "other" },
			got: func(c container.InspectResponse) any { return c.Config.Hostname }, want: "other", holds: `[ "$(hostname)" = other ]`},
		{name: "hosts", set: func(c *backends.NodeConfig) { c.Hosts = "192.0.2.7\tb b.lab\n" },
			holds: `grep -q '192.0.2.7.*b.lab' /etc/hosts`},
		{name: "healthcheck", set: func(c *backends.NodeConfig) {
			c.Node.Container.Healthcheck = &lab.Healthcheck{Test: []string{"CMD", "true"}, Interval: time.Hour, Timeout: 2 * time.Second, Retries: 7}
		}, got: func(c container.InspectResponse) any {
			h := c.Config.Healthcheck
			return fmt.Sprint(h.Test, h.Interval, h.Timeout, h.Retries)
		}, want: "[CMD true] 1h0m0s 2s 7"},
		{name: "startup-config", set: func(c *backends.NodeConfig) {
			c.Kind.StartupConfig.Path, c.Config = "/etc/device/startup.cfg", "hostname a\n"
		}, holds: `[ "$(cat /etc/device/startup.cfg)" = "hostname a" ]`},
	}
}

// everyField: one node has all that the topology can say at once.
func everyField(b *bench) {
	all := b.fields()
	c := b.config("a", func(c *backends.NodeConfig) {
		c.Management = &lab.Management{Network: "fields-" + b.lab, IPv4Subnet: "172.31.201.0/24"}
		c.Node.Container.NetworkMode = ""
	})
	kind := *c.Kind
	c.Kind = &kind
	for _, f := range all {
		if f.set != nil {
			f.set(&c)
		}
	}
	ref := b.run(c)
	have := b.look(ref)
	for _, f := range all {
		if f.got != nil {
			if got := f.got(have); !reflect.DeepEqual(got, f.want) {
				b.Errorf("%s: %v, wanted %v", f.name, got, f.want)
			}
		}
		if f.holds != "" {
			if code, out := b.exec(ref, f.holds); code != 0 {
				b.Errorf("%s does not hold in the node: %s", f.name, out)
			}
		}
	}
}

// users: who the node's init runs as; its gate and its socket serve anybody.
func users(b *bench) {
	ref := b.run(b.config("a", func(c *backends.NodeConfig) {
		cmd("exec sleep 1000")(c)
		c.Node.User = "user"
	}))
	if got := strings.TrimSpace(b.must(ref, "id -u; sed -n 's/^Uid:.\\([0-9]*\\).*/\\1/p' /proc/1/status")); got != "1000\n1000" {
		b.Errorf("it runs as %q", got)
	}
}

// sharedNamespaces: a node in the namespaces of another one, or of the machine.
func sharedNamespaces(b *bench) {
	first := b.run(b.config("a", cmd("exec sleep 1000")))
	second := b.run(b.config("b", func(c *backends.NodeConfig) {
		cmd("exec sleep 2000")(c)
		c.Node.Container.NetworkMode, c.Node.Container.PIDMode = "container:a", "container:a"
	}))
	ns := "readlink /proc/self/ns/net; readlink /proc/self/ns/pid"
	if x, y := b.must(first, ns), b.must(second, ns); x != y {
		b.Errorf("namespaces %q and %q", x, y)
	}
	host := b.run(b.config("c", func(c *backends.NodeConfig) {
		cmd("exec sleep 1000")(c)
		c.Node.Container.NetworkMode = "host"
	}))
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		b.Fatal(err)
	}
	if got := strings.TrimSpace(b.must(host, "readlink /proc/self/ns/net")); got != own {
		b.Errorf("network-mode host: in %s, the machine is %s", got, own)
	}
	linked := b.config("d", func(c *backends.NodeConfig) { c.Node.Container.NetworkMode = "host" }, "eth1")
	if err := b.Create(b.Context(), linked); err == nil || !strings.Contains(err.Error(), "cannot have links") {
		b.Error("links of a node in the machine's own network: ", err)
	}
}
