// Command bench measures the program side by side with yardsticks, in one
// run, and prints ratios: absolute times say more of the machine than of the
// program. Nothing is left behind, also after ctrl-C.
//
// A number is a function in a file of its own, named in the list below.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// numbers are what can be measured, in the order in which it is.
var numbers = []struct {
	name, about string
	run         func(*bench) error
}{
	{"deploy", "deploy and destroy of a ring, against the kernel's own floor", (*bench).deploys},
	{"mininet", "the same against Mininet, per node", (*bench).mininet},
	{"docker", "deploy of containers, against docker run of the same", (*bench).docker},
	{"containers", "the same in a management network, against the engine alone and, where CONTAINERLAB names it, containerlab", (*bench).containers},
	{"running", "screen, idle CPU and memory at a whole running lab", (*bench).running},
	{"hot", "a cable of a running node, cut and joined, by network", (*bench).hot},
	{"swap", "links that move to another network while frames cross them", (*bench).swaps},
	{"ovs", "ports of a switch, against ovs-vsctl per port", (*bench).ports},
	{"engine", "10,000 simulated nodes: what is stored a second, and what costs a lab at rest", (*bench).engine},
	{"machines", "virtual machines: deploy against a shell's loop, hot cables, serial lines that never stop", (*bench).machines},
	{"frames", "key to frame of the screen alone, by size of the lab", (*bench).frames},
}

func main() {
	var b bench
	var names []string
	for _, n := range numbers {
		names = append(names, n.name)
	}
	only := flag.String("only", "", "measure only these, separated by commas: "+strings.Join(names, ", "))
	flag.IntVar(&b.nodes, "nodes", 200, "nodes of the ring")
	flag.IntVar(&b.mininetNodes, "mininet-nodes", 30, "nodes of Mininet's ring: it is compared per node")
	flag.StringVar(&b.program, "program", "bin/archetype", "the program to measure")
	flag.Parse()
	if err := b.measure(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) measure(only string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b.ctx = ctx
	if b.program, err = filepath.Abs(b.program); err != nil {
		return err
	}
	if _, err := os.Stat(b.program); err != nil {
		return fmt.Errorf("%w: build it first, with make build", err)
	}
	if b.dir, err = os.MkdirTemp("", "archetype-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.tidy()) }()
	if err := b.writeRing(); err != nil {
		return err
	}
	for _, n := range numbers {
		if only != "" && !slices.Contains(strings.Split(only, ","), n.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", n.name, n.about)
		if err := n.run(b); ctx.Err() != nil {
			return errors.New("interrupted")
		} else if err != nil {
			b.failed = append(b.failed, fmt.Sprintf("%s: %v", n.name, err))
		}
	}
	b.print()
	if len(b.failed) > 0 {
		return errors.New("not measured: " + strings.Join(b.failed, "; "))
	}
	return nil
}
