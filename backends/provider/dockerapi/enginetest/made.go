package enginetest

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"archetype/backends"
	"archetype/lab"
)

// readsItsFiles is the init of a stand-in for IOL, which reads its files once.
const readsItsFiles = `#!/bin/sh
cd /iol
echo "pid $IOL_PID, nvram $(cat nvram_0000$IOL_PID | wc -l)"
cat NETMAP iouyap.ini config.txt
echo saved >>nvram_0000$IOL_PID
echo end of files
exec sleep 1000
`

// iolReadsItsFiles: the kind's own files, as the data file has them, around a
// stand-in for the vendor's image. All is there at the first instruction, with
// the addresses that the engine gave the node only then, and what the node
// keeps for itself stays.
func iolReadsItsFiles(b *bench) {
	if err := b.d.Import(b.Context(), "iol-stand-in:1", map[string]string{"/entrypoint.sh": readsItsFiles, "/iol/image": ""}, "ENTRYPOINT [\"/entrypoint.sh\"]"); err != nil {
		b.Fatal(err)
	}
	no := false // this machine may not grant it
	m := &lab.Management{Network: "mgmt-" + b.lab, IPv4Subnet: "172.31.203.0/24"}
	node := func(name string, index int, change func(*backends.NodeConfig), interfaces ...string) backends.NodeConfig {
		return b.kindConfig("cisco_iol", name, func(c *backends.NodeConfig) {
			c.Index, c.Management, c.Node.Image = index, m, "iol-stand-in:1"
			c.Node.Container.Privileged, c.Node.Container.NetworkMode = &no, ""
			if change != nil {
				change(c)
			}
		}, interfaces...)
	}
	said := func(ref backends.NodeRef, parts ...string) string {
		b.Helper()
		b.said(ref, backends.LogOptions{Boot: true}, "end of files")
		all := b.allSaid(ref)
		for _, part := range parts {
			if !strings.Contains(all, part) {
				b.Errorf("%s: it lacks %q and says\n%s", ref, part, all)
			}
		}
		return all
	}
	peer := b.config("peer", cmd("exec sleep 1000"), "eth1", "eth6")
	peer.Index = 9
	b.create(peer)
	first := node("r1", 0, nil, "eth1")
	first.Ends[0].IPv4 = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/25")}
	b.create(first)
	b.cable(first, peer, "eth1")
	b.start(first.Ref)
	st, _ := b.status(first.Ref)
	said(first.Ref, "pid 1, nvram 0\n1:0/0 513:0/0\n1:0/1 513:0/1\n[default]\n", "[513:0/1]\neth_dev = eth1\nhostname r1\n",
		" ip address "+st.ManagementIPv4+" 255.255.255.0\n", "ip route vrf clab-mgmt 0.0.0.0 0.0.0.0 Ethernet0/0 172.31.203.1\n",
		"interface Ethernet0/1\n ip address 10.1.2.3 255.255.255.128\n")

	// A number that is taken is nobody else's, and a link more is in the files
	// of the next start; what the node has saved is there again.
	partial := filepath.Join(b.TempDir(), "r2.partial.cfg")
	second := node("r2", 0, func(c *backends.NodeConfig) {
		c.Node.Type, c.Node.StartupConfig, c.Config = "L2", partial, "vlan 7\n"
	}, "eth6")
	b.create(second)
	b.cable(second, peer, "eth6")
	b.start(second.Ref)
	said(second.Ref, "pid 2, nvram 0\n2:0/0 513:0/0\n2:1/2 513:1/2\n", "hostname r2\n", "interface Ethernet0/0\n no switchport\n", "vlan 7\n")

	b.must(first.Ref, "echo 'a line of its own' >/iol/config.txt")
	if err := b.Stop(b.Context(), first.Ref, 0); err != nil {
		b.Fatal(err)
	}
	more := node("r1", 5, nil, "eth1", "eth2")
	b.create(more)
	b.start(first.Ref)
	if all := said(first.Ref, "pid 1, nvram 1\n1:0/0 513:0/0\n1:0/1 513:0/1\n1:0/2 513:0/2\n", "\na line of its own\n"); strings.Contains(all, "hostname") {
		b.Errorf("the configuration that the node saved is gone: %s", all)
	}
}

// kindsHaveTheirFilesMade: the files of other kinds that need them, as the data
// files have them, in an image of no vendor's.
func kindsHaveTheirFilesMade(b *bench) {
	no := false
	key := filepath.Join(b.TempDir(), "key")
	if err := os.WriteFile(key, []byte("serial-1\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	for kind, c := range map[string]struct {
		change func(*backends.NodeConfig)
		holds  string // run in the node
	}{
		"6wind_vsr": {func(c *backends.NodeConfig) {
			c.Config, c.Node.Binds = "vrf main\n", []string{key + ":/etc/vsr-license:ro"}
		}, `[ "$(head -1 /etc/init-config.cli)" = "vrf main" ] && grep -q '^/ system license online serial "serial-1"$' /etc/init-config.cli`},
		"spirent_stc": {nil, `grep -q 4294967296 /cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.limit_in_bytes && grep -q ^0- /sys/fs/cgroup/cpuset/cpuset.cpus`},
		"cisco_c8000": {func(c *backends.NodeConfig) {
			c.Config = "hostname {{ .ShortName }}-{{ .NodeType }}\n"
			c.Node.Type = "x"
		}, `grep -q '^hostname cisco_c8000-x$' /startup.cfg`},
		"fdio_vpp":      {nil, `grep -q 'cli-prompt fdio_vpp>' /config/vpp/startup.conf && [ -f /config/vpp/vppcfg.yaml ]`},
		"veesix_osvbng": {func(c *backends.NodeConfig) { c.Config = "a: 1\n" }, `grep -qx 'a: 1' /etc/osvbng/osvbng.yaml && [ "$OSVBNG_WAIT_FOR_INTERFACES" = true ]`},
		"arrcus_arcos":  {nil, `grep -qx 'system hostname arrcus_arcos' "$STARTUP_CFG"`},
	} {
		ref := b.run(b.kindConfig(kind, kind, func(n *backends.NodeConfig) {
			n.Node.Entrypoint, n.Node.Container.Privileged = "sleep 1000", &no
			if c.change != nil {
				c.change(n)
			}
		}))
		if code, out := b.exec(ref, c.holds); code != 0 {
			b.Errorf("%s: not so: %s: %s", kind, c.holds, out)
		}
	}
	bad := b.kindConfig("cisco_c8000", "bad", func(c *backends.NodeConfig) { c.Config = "hostname {{ .Nothing }}\n" })
	if err := b.Create(b.Context(), bad); err == nil || !strings.Contains(err.Error(), "/startup.cfg:1:12: ") || !strings.Contains(err.Error(), "Nothing") {
		b.Errorf("a configuration that is a bad template: %v", err)
	}
}
