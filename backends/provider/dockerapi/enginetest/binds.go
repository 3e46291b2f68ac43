package enginetest

import (
	"os"
	"path/filepath"
	"strings"

	"archetype/backends"
)

// bindsComeFirst: what the topology binds to where the kind puts a file, or to
// the folder of it, is what the node has there, and stays as it is on the
// machine; only what a folder lacks is put there.
func bindsComeFirst(b *bench) {
	const at, own = "/etc/frr/frr.conf", "hostname mine\n"
	with := func(bind string) func(*backends.NodeConfig) {
		return func(c *backends.NodeConfig) {
			cmd("exec sleep 1000")(c)
			c.Node.Binds = []string{bind}
		}
	}
	for name, c := range map[string]struct {
		target, option string
		has, holds     string
	}{
		"file":    {at, "", own, own},
		"ro-file": {at, ":ro", own, own},
		"folder":  {"/etc/frr", "", own, own},
		"ro":      {"/etc/frr", ":ro", own, own},
		"ro-less": {"/etc/frr", ":ro", "", ""},
		"less":    {"/etc/frr", "", "", "frr defaults traditional\n"},
	} {
		dir := b.TempDir()
		file := filepath.Join(dir, "frr.conf")
		if c.has != "" {
			if err := os.WriteFile(file, []byte(c.has), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		source := dir
		if c.target == at {
			source = file
		}
		ref := b.create(b.kindConfig("frr", name, with(source+":"+c.target+c.option)))
		if name == "folder" { // a mistake would show now, too
			b.start(ref)
			if is := b.must(ref, "cat "+at); is != c.holds {
				b.Errorf("%s: the node has %q", name, is)
			}
		}
		if is, _ := os.ReadFile(file); string(is) != c.holds {
			b.Errorf("%s: on the machine there is %q", name, is)
		}
	}
	// A folder that the kind has mounted by itself is the topology's where that says so.
	dir := b.TempDir()
	ceos := b.create(b.kindConfig("ceos", "ceos", with(dir+":/mnt/flash")))
	if all := strings.Join(b.look(ceos).HostConfig.Binds, " "); strings.Count(all, ":/mnt/flash") != 1 || !strings.Contains(all, dir+":/mnt/flash") {
		b.Errorf("it has mounted %s", all)
	}
	if _, err := os.Stat(filepath.Join(dir, "if-wait.sh")); err != nil {
		b.Error("what the kind needs there: ", err)
	}
}

// kindsMayDoWhatTheyMust: routing daemons change interfaces and routes, and
// FRR's ends where it may not have what it keeps for itself.
func kindsMayDoWhatTheyMust(b *bench) {
	for kind, holds := range map[string]string{
		"bird": "ip link set lo mtu 1400 && ip route add blackhole 192.0.2.0/24",
		"frr":  "ip link set lo mtu 1400 && ip route add blackhole 192.0.2.0/24 && [ $((0x$(sed -n 's/CapEff:\t//p' /proc/self/status) >> 21 & 1)) = 1 ]", // SYS_ADMIN
	} {
		b.must(b.run(b.kindConfig(kind, kind, cmd("exec sleep 1000"))), holds)
	}
}
