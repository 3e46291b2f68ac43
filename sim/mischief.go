package sim

import (
	"maps"
	"slices"
	"strings"

	"archetype/backends"
	"archetype/lab"
)

// What happens on a machine behind an engine's back.

// Kill ends a node's init.
func (w *World) Kill(ref backends.NodeRef, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[ref]
	if m == nil || !m.running {
		return
	}
	m.running, m.exit = false, why
	m.log.end()
	w.tellNode(m.status(ref))
}

// Restart ends a node's init and starts another.
func (w *World) Restart(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[ref]
	if m == nil {
		return
	}
	if m.running {
		m.running, m.exit = false, "killed"
		m.log.end()
		w.tellNode(m.status(ref))
	}
	w.run(ref, m)
}

// Pause freezes a node or, with false, has it go on. Quietly: nobody is told,
// as when its init is sent a signal.
func (w *World) Pause(ref backends.NodeRef, paused, quietly bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[ref]
	if m == nil || !m.running || m.paused == paused {
		return
	}
	m.paused = paused
	if !quietly {
		w.tellNode(m.status(ref))
	}
}

// Rename gives a node another name; its labels stay.
func (w *World) Rename(ref backends.NodeRef, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.nodes[ref]; m != nil {
		m.name = name
		w.tellNode(m.status(ref))
	}
}

// Vanish removes a node.
func (w *World) Vanish(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[ref]
	if m == nil {
		return
	}
	w.drop(ref)
	w.tellNode(backends.NodeStatus{Ref: ref, Boot: m.boot, Gone: true})
}

// Remake removes a node and makes another in its place, that is not started.
func (w *World) Remake(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.nodes[ref]
	if m == nil {
		return
	}
	w.drop(ref)
	w.tellNode(backends.NodeStatus{Ref: ref, Boot: m.boot, Gone: true})
	m = &machine{cfg: m.cfg, stray: m.stray, log: newBootLog()}
	w.nodes[ref] = m
	w.tellNode(m.status(ref))
}

// Unplug removes an interface of a link, and with it the link.
func (w *World) Unplug(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	l := w.wires[k]
	if l == nil {
		return
	}
	delete(w.wires, k)
	if l.network == SwitchName {
		w.leave(k, l)
		delete(w.ports, portKey{labName, l.a})
	}
	w.tellLink(l.network, backends.LinkStatus{Lab: labName, ID: id, Gone: true, Carrier: lab.CarrierOff})
}

// Isolated lists the interfaces that no link has yet, as lab and end, sorted.
func (w *World) Isolated() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out [][2]string
	for k := range w.ports {
		out = append(out, [2]string{k.lab, k.end.String()})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0]+"/"+a[1], b[0]+"/"+b[1]) })
	return out
}

// Pluck removes an interface that no link has yet. Nobody is told: networks
// tell of links.
func (w *World) Pluck(labName, end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.ports, func(k portKey, _ string) bool { return k.lab == labName && k.end.String() == end })
}

// Join wires a link that was cut.
func (w *World) Join(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	if l := w.wires[k]; l != nil && !l.connected {
		l.connected, l.carrier, l.why = true, lab.CarrierOn, ""
		w.tellLink(l.network, l.status(k))
	}
}

// Collapse takes the tunnel away that a link leaves the machine through.
func (w *World) Collapse(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	if l := w.wires[k]; l != nil && l.connected && l.tunnel {
		l.connected, l.why = false, "its tunnel is gone"
		w.tellLink("", l.status(k))
	}
}

// Sever cuts a link that somebody else's hand pulled: both interfaces stay.
func (w *World) Sever(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	if l := w.wires[k]; l != nil && l.connected {
		l.connected = false
		w.tellLink(l.network, l.status(k))
	}
}

// Mistag gives the two ports of a link different tags; only a switch has such.
func (w *World) Mistag(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	if l := w.wires[k]; l != nil && l.connected && l.network == SwitchName {
		l.connected, l.why = false, "the ports have different tags"
		w.tellLink(l.network, l.status(k))
	}
}

// SetCarrier lets both ends see a carrier or not; the link stays whole.
func (w *World) SetCarrier(labName, id string, c lab.Carrier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	if l := w.wires[k]; l != nil && l.connected {
		l.carrier = c
		w.tellLink(l.network, l.status(k))
	}
}

// Stray makes a node that bears the label of a lab without being part of it,
// as an interrupted change would leave it.
func (w *World) Stray(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes[ref] == nil {
		w.nodes[ref] = &machine{stray: true, cfg: backends.NodeConfig{Ref: ref, Labels: map[string]string{"archetype.lab": ref.Lab}}, log: newBootLog()}
	}
}

// Foreign makes something that is not ours, under the name that a node of ours
// would have, and reports false when there is such a node.
func (w *World) Foreign(ref backends.NodeRef) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes[ref] != nil {
		return false
	}
	w.foreign[ref] = true
	return true
}

// Leave removes again what is not ours.
func (w *World) Leave(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.foreign, ref)
}

// Reboot is what a restart of the machine leaves: nodes that are kept on disk
// without running, and no links.
func (w *World) Reboot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.nodes {
		m.running, m.staged, m.exit = false, false, ""
		m.log.end()
	}
	clear(w.wires)
	clear(w.ports)
}
