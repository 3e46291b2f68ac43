package sim_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"archetype/backends"
	"archetype/sim"
)

// chaos runs the steps in which everything can happen.
func (d *driver) chaos(steps int) {
	for range steps {
		d.step()
		d.check()
	}
}

func (d *driver) step() {
	d.steps++
	d.mu.Lock()
	calls, events := d.sorted(), len(d.events)
	d.mu.Unlock()
	booting, visits := d.w.Booting(), d.open()
	up := d.up()
	if wide {
		var names []string
		for _, h := range calls {
			names = append(names, h.String())
		}
		d.note("  (%d: %s; %d events, %v booting, up=%v)", time.Now().UnixNano(), strings.Join(names, ", "), events, booting, up)
	}
	kinds := []struct {
		weight int
		do     func()
	}{
		{when(len(calls) > 0, 400), func() { d.endCall(calls[d.rng.IntN(len(calls))]) }},
		{when(events > 0, 250), d.tellEvent},
		{when(len(booting) > 0, 150), func() { d.bootLine(booting[d.rng.IntN(len(booting))]) }},
		{120, d.pass},
		{when(up, 50), d.ask},
		{25, d.mischief},
		{when(len(visits) > 0, 8), func() { d.hangUp(visits) }},
		{3, func() { d.count("crash"); d.note("crash"); d.crash() }},
		{2, d.setClock},
		{4, d.toggleDisk},
		{4, d.toggleBackend},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := d.rng.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			k.do()
			break
		}
	}
	synctest.Wait()
}

// wide has the course say what else could have been next.
var wide = os.Getenv("SIM_WIDE") != ""

func when(ok bool, weight int) int {
	if ok {
		return weight
	}
	return 0
}

// endCall lets a call happen: mostly well.
func (d *driver) endCall(h *held) {
	d.take(h)
	if h.heard != nil {
		d.note("%s", h)
		close(h.heard)
		return
	}
	v := sim.Verdict{}
	if !d.calm {
		switch d.rng.IntN(40) {
		case 0, 1:
			d.count("call fails")
			v.Err = errors.New("a simulated failure")
		case 2:
			d.count("call fails though it was done")
			v = sim.Verdict{Err: errors.New("a simulated failure after the fact"), Late: true}
		case 3:
			d.count("call fails half-way")
			v = sim.Verdict{Err: errors.New("a simulated failure half-way"), Half: true}
		}
	} else if d.refuses != nil {
		v.Err = d.refuses(h.call)
	}
	d.note("%s: %v", h.call, v)
	if !d.calm && d.rng.IntN(8) == 0 {
		d.count("answer delayed")
		slow := &held{call: h.call, heard: make(chan struct{})}
		v.Heard = slow.heard
		d.mu.Lock()
		d.held = append(d.held, slow)
		d.mu.Unlock()
	}
	d.count("call: " + h.call.Verb)
	h.answer <- v
}

// tellEvent delivers an event, or loses, repeats or passes over one.
func (d *driver) tellEvent() {
	d.mu.Lock()
	at := 0
	fate := 100
	if !d.calm {
		if fate = d.rng.IntN(20); fate == 0 {
			if at = d.rng.IntN(len(d.events)); at > 0 {
				d.counts["event out of order"]++
			}
		}
	}
	ev := d.events[at]
	if fate != 1 { // else it comes again
		d.events = slices.Delete(d.events, at, at+1)
	} else {
		d.counts["event repeated"]++
	}
	d.mu.Unlock()
	if fate == 2 {
		d.count("event lost")
		d.note("lost: %s", eventText(ev))
		return
	}
	d.note("event: %s", eventText(ev))
	d.w.Deliver(ev)
}

func eventText(ev sim.Event) string {
	if ev.Node != nil {
		return fmt.Sprintf("%s %s running=%v boot=%d gone=%v", ev.From, ev.Node.Ref, ev.Node.Running, ev.Node.Boot, ev.Node.Gone)
	}
	return fmt.Sprintf("%s %s/%s connected=%v gone=%v carrier=%s", ev.From, ev.Link.Lab, ev.Link.ID, ev.Link.Connected, ev.Link.Gone, ev.Link.Carrier)
}

func (d *driver) bootLine(ref backends.NodeRef) {
	d.note("boot %s", ref)
	d.w.Boot(ref)
}

// pass lets time pass: mostly moments, at times minutes.
func (d *driver) pass() {
	var t time.Duration
	switch n := d.rng.IntN(100); {
	case n < 60:
		t = time.Duration(d.rng.IntN(100)) * time.Millisecond
	case n < 90:
		t = time.Duration(d.rng.IntN(3000)) * time.Millisecond
	case n < 99:
		t = time.Duration(d.rng.IntN(30)) * time.Second
	default:
		t = time.Duration(d.rng.IntN(240)) * time.Second
	}
	// To the nanosecond, so that no two timers end at one instant, whose order
	// would not be told.
	t += time.Duration(d.rng.IntN(int(time.Millisecond)))
	d.note("%s pass", t)
	time.Sleep(t)
}

// setClock sets the machine's clock, by hours forward or back.
func (d *driver) setClock() {
	by := time.Duration(d.rng.IntN(24*3600)-12*3600) * time.Second
	d.clock.off.Add(int64(by))
	d.count("clock set")
	d.note("the clock is set by %s", by)
}

func (d *driver) toggleDisk() {
	d.mu.Lock()
	d.disk = !d.disk && d.rng.IntN(2) == 0
	if d.disk {
		d.counts["disk full"]++
	}
	d.note("disk refuses: %v", d.disk)
	d.mu.Unlock()
}

func (d *driver) toggleBackend() {
	if len(d.down) > 0 {
		d.note("%s is back", d.down[0])
		d.w.Up(d.down[0])
		d.down = d.down[1:]
		return
	}
	name := []string{sim.ProviderName, sim.CableName, sim.SwitchName}[d.rng.IntN(3)]
	d.count("backend down: " + name)
	d.note("%s is down", name)
	d.w.Down(name)
	d.down = append(d.down, name)
}
