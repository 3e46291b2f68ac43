package main

import (
	"fmt"
	"time"
)

// rounds is how often a deploy is measured; the best counts, for ours and for
// the yardsticks alike: what disturbs a measurement only ever adds to it.
const rounds = 3

// deploys measures deploy and destroy of the ring over both networks that the
// kernel has by itself.
func (b *bench) deploys() error {
	procs, err := b.processes()
	if err != nil {
		return fmt.Errorf("start of processes: %w", err)
	}
	least, err := b.page()
	if err != nil {
		return fmt.Errorf("start of processes: %w", err)
	}
	b.row(fmt.Sprintf("(%d processes of one page, which is what idle nodes are)", b.nodes), ms(least.start), "", "", "")
	b.own, b.floors = map[string]floor{}, map[string]floor{}
	for _, network := range []string{"veth", "linuxbridge"} {
		var best, least floor
		for range rounds {
			f, err := b.kernelFloor(network)
			if err != nil {
				return err
			}
			var got floor
			if got.make, err = b.timed("deploy", b.file(), "--network", network); err != nil {
				return err
			}
			if got.remove, err = b.timed("destroy", b.lab(), "--yes"); err != nil {
				return err
			}
			rest, err := b.settled()
			if err != nil {
				return err
			}
			got.remove += rest
			best, least = best.min(got), least.min(f)
		}
		b.own[network], b.floors[network] = best, least
		b.against("deploy", network, best.make, least.make, procs.start)
		b.against("destroy", network, best.remove, least.remove, procs.end)
	}
	return nil
}

func (f floor) min(g floor) floor {
	if f.make == 0 {
		return g
	}
	return floor{min(f.make, g.make), min(f.remove, g.remove)}
}

func (b *bench) against(what, network string, ours, floor, procs time.Duration) {
	may := 3*floor + procs
	b.row(fmt.Sprintf("%s %d nodes, %s", what, b.nodes, network), ms(ours),
		fmt.Sprintf("3 x %s + %s", ms(floor), ms(procs)), ratio(ours, may), goal("at most 1", ours <= may))
}
