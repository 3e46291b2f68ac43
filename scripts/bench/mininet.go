package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ringTopology is the ring for Mininet: hosts in a circle, wired straight
// (as over veth) or through a switch per link (as over linuxbridge).
const ringTopology = `from mininet.topo import Topo
class Ring(Topo):
    def build(self, n=20, switched=0):
        hosts = [self.addHost('h%d' % (i + 1)) for i in range(n)]
        for i in range(n):
            a, b = hosts[i], hosts[(i + 1) % n]
            if switched:
                s = self.addSwitch('s%d' % (i + 1))
                self.addLink(a, s)
                self.addLink(b, s)
            else:
                self.addLink(a, b)
topos = {'ring': Ring}
`

// mininet compares a whole life, deploy and destroy, per node.
func (b *bench) mininet() error {
	mn, err := exec.LookPath("mn")
	if err != nil || os.Geteuid() != 0 {
		return errors.New("needs root and Mininet (apt-get install mininet)")
	}
	if b.own == nil {
		return errors.New("needs the number deploy")
	}
	file := filepath.Join(b.dir, "ring.py")
	if err := os.WriteFile(file, []byte(ringTopology), 0o600); err != nil {
		return err
	}
	for i, network := range []string{"veth", "linuxbridge"} {
		// In namespaces of its own, nothing of it can stay.
		cmd := exec.CommandContext(b.ctx, "unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", mn, "--custom", file,
			"--topo", fmt.Sprintf("ring,n=%d,switched=%d", b.mininetNodes, i), "--switch", "lxbr", "--controller", "none", "--test", "none")
		took, err := timed(cmd)
		if err != nil {
			return err
		}
		ours := (b.own[network].make + b.own[network].remove) / time.Duration(b.nodes)
		theirs := took / time.Duration(b.mininetNodes)
		times := float64(theirs) / float64(ours)
		b.row("deploy and destroy, per node, "+network, ms(ours), ms(theirs)+" Mininet",
			fmt.Sprintf("%.1f times faster", times), goal("10 times", times >= 10))
	}
	return nil
}
