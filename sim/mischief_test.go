package sim_test

import (
	"fmt"

	"archetype/backends"
	"archetype/lab"
	"archetype/sim"
)

// What is done to a node and to a link behind the engine's back.
var (
	nodeFaults = []struct {
		name string
		do   func(*sim.World, backends.NodeRef)
	}{
		{"node died", func(w *sim.World, r backends.NodeRef) { w.Kill(r, "killed by chance") }},
		{"node removed", func(w *sim.World, r backends.NodeRef) { w.Vanish(r) }},
		{"node removed and made anew", func(w *sim.World, r backends.NodeRef) { w.Remake(r) }},
		{"node started again", func(w *sim.World, r backends.NodeRef) { w.Restart(r) }},
		{"node paused", func(w *sim.World, r backends.NodeRef) { w.Pause(r, true, false) }},
		{"node paused unheard", func(w *sim.World, r backends.NodeRef) { w.Pause(r, true, true) }},
		{"node goes on", func(w *sim.World, r backends.NodeRef) { w.Pause(r, false, false) }},
		{"node renamed", func(w *sim.World, r backends.NodeRef) { w.Rename(r, "renamed") }},
		{"node renamed back", func(w *sim.World, r backends.NodeRef) { w.Rename(r, "") }},
	}
	linkFaults = []struct {
		name string
		do   func(w *sim.World, lab, id string)
	}{
		{"interface deleted", (*sim.World).Unplug},
		{"link cut", (*sim.World).Sever},
		{"link joined", (*sim.World).Join},
		{"carrier lost", func(w *sim.World, l, id string) { w.SetCarrier(l, id, lab.CarrierOff) }},
		{"carrier back", func(w *sim.World, l, id string) { w.SetCarrier(l, id, lab.CarrierOn) }},
		{"wrong tag", (*sim.World).Mistag},
		{"tunnel gone", (*sim.World).Collapse},
	}
)

// stray is what a node is called that only bears a lab's label.
const stray = "stray"

func (d *driver) mischief() {
	refs, wires := d.w.Refs(), d.w.Wires()
	n := d.rng.IntN(23)
	switch {
	case n == 0 && len(d.down) == 0:
		d.count("machine rebooted")
		d.note("reboot of the machine")
		d.w.Reboot()
	case n == 1:
		ref := backends.NodeRef{Lab: labNames[d.rng.IntN(len(labNames))], Node: stray}
		d.count("unknown extra")
		d.note("stray %s", ref)
		d.w.Stray(ref)
	case n == 2:
		d.takeName()
	case n == 22:
		if ports := d.w.Isolated(); len(ports) > 0 {
			p := ports[d.rng.IntN(len(ports))]
			d.count("isolated interface deleted")
			d.note("isolated interface deleted: %s/%s", p[0], p[1])
			d.w.Pluck(p[0], p[1])
		}
	case n < 13 && len(refs) > 0:
		ref, f := refs[d.rng.IntN(len(refs))], nodeFaults[d.rng.IntN(len(nodeFaults))]
		d.count(f.name)
		d.note("%s: %s", f.name, ref)
		f.do(d.w, ref)
	case len(wires) > 0:
		k, f := wires[d.rng.IntN(len(wires))], linkFaults[d.rng.IntN(len(linkFaults))]
		d.count(f.name)
		d.note("%s: %s/%s", f.name, k[0], k[1])
		f.do(d.w, k[0], k[1])
	}
}

// takeName has somebody else take a name that a node of ours would have, or
// give it back.
func (d *driver) takeName() {
	if len(d.taken) > 0 && d.rng.IntN(2) == 0 {
		d.note("%s is free again", d.taken[0])
		d.w.Leave(d.taken[0])
		d.taken = d.taken[1:]
		return
	}
	ref := backends.NodeRef{Lab: labNames[d.rng.IntN(len(labNames))], Node: fmt.Sprintf("n%d", d.rng.IntN(4))}
	if d.w.Foreign(ref) {
		d.count("name taken")
		d.note("%s is somebody else's", ref)
		d.taken = append(d.taken, ref)
	}
}

// count notes that something was tried.
func (d *driver) count(what string) {
	d.mu.Lock()
	d.counts[what]++
	d.mu.Unlock()
}
