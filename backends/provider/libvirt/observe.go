package libvirt

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"archetype/backends"
	"archetype/internal/frozen"
)

// List looks at all our domains.
func (p *Provider) List(ctx context.Context, labName string) ([]backends.NodeStatus, error) {
	var out []backends.NodeStatus
	err := p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		out = nil
		all, _, err := lv.ConnectListAllDomains(1, 0)
		if err != nil {
			return err
		}
		for _, dom := range all {
			if !p.mine(dom.UUID) {
				continue
			}
			st, ok, err := p.look(lv, dom)
			if err != nil {
				return err
			}
			if ok && (labName == "" || st.Ref.Lab == labName) {
				out = append(out, st)
			}
		}
		return nil
	})
	if err != nil {
		return nil, explain(err)
	}
	slices.SortFunc(out, func(a, b backends.NodeStatus) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	return out, nil
}

// look says what a domain is now; not ok: it is not ours, or gone.
func (p *Provider) look(lv *golibvirt.Libvirt, dom golibvirt.Domain) (st backends.NodeStatus, ok bool, err error) {
	text, err := lv.DomainGetXMLDesc(dom, 0)
	if isCode(err, golibvirt.ErrNoDomain) {
		return st, false, nil
	}
	if err != nil {
		return st, false, err
	}
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return st, false, err
	}
	ref, labels, ok := p.marked(&d)
	if !ok {
		return st, false, nil
	}
	st = backends.NodeStatus{Ref: ref, Identifier: d.Name, Labels: labels, Running: d.ID != nil}
	st.Renamed = d.Name != p.domainName(ref)
	if k, err := p.read(ref); err == nil {
		st.Boot = k.Boot
		if st.Running {
			st.Started = time.Unix(0, int64(k.Boot))
		}
	}
	if st.Running {
		st.PID = pid(d.Name)
		state, _, err := lv.DomainGetState(dom, 0)
		if err != nil && !isCode(err, golibvirt.ErrNoDomain) {
			return st, false, err
		}
		st.Paused = golibvirt.DomainState(state) == golibvirt.DomainPaused || frozen.Is(st.PID)
		if len(d.Devices.Graphics) > 0 {
			st.Screen = "vnc+unix://" + p.screen(ref)
		}
	}
	return st, true, nil
}

// pid is that of a domain's emulator, 0 where libvirt keeps it elsewhere.
func pid(name string) int {
	data, err := os.ReadFile("/run/libvirt/qemu/" + name + ".pid")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// Events reports domains of ours that start, end or vanish.
func (p *Provider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	lv, err := p.conn.session()
	if err != nil {
		return nil, err
	}
	sub, cancel := context.WithCancel(ctx)
	in, err := lv.LifecycleEvents(sub)
	if err != nil {
		cancel()
		return nil, explain(err)
	}
	out := make(chan backends.NodeStatus)
	go func() {
		defer close(out)
		defer func() { // the source does not end before it is rid of what it has
			cancel()
			for range in {
				continue
			}
		}()
		// Names of those that are known, since one that is gone cannot be asked.
		known := map[golibvirt.UUID]backends.NodeRef{}
		if list, err := p.List(ctx, ""); err == nil {
			for _, st := range list {
				known[p.uuid(st.Ref)] = st.Ref
				go p.syncTap(ctx, st.Ref, "") // it may have changed while nobody looked
			}
		}
		for {
			select {
			case ev, ok := <-in:
				if !ok {
					return
				}
				st, ok := p.happened(ctx, lv, ev, known)
				if !ok {
					continue
				}
				select {
				case out <- st:
				case <-ctx.Done():
					return
				}
			case <-lv.Disconnected():
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// happened makes of an event what a node is now.
func (p *Provider) happened(ctx context.Context, lv *golibvirt.Libvirt, ev golibvirt.DomainEventLifecycleMsg, known map[golibvirt.UUID]backends.NodeRef) (backends.NodeStatus, bool) {
	if !p.mine(ev.Dom.UUID) {
		return backends.NodeStatus{}, false
	}
	var st backends.NodeStatus
	var there bool
	err := p.conn.do(ctx, func(*golibvirt.Libvirt) (err error) {
		st, there, err = p.look(lv, ev.Dom)
		return err
	})
	if err != nil {
		return st, false
	}
	if !there {
		ref, ok := known[ev.Dom.UUID]
		delete(known, ev.Dom.UUID)
		return backends.NodeStatus{Ref: ref, Gone: true}, ok
	}
	known[ev.Dom.UUID] = st.Ref
	switch golibvirt.DomainEventType(ev.Event) {
	case golibvirt.DomainEventStopped, golibvirt.DomainEventCrashed:
		p.mu.Lock()
		asked := p.asked[st.Ref]
		p.mu.Unlock()
		if !asked && !st.Running {
			st.ExitReason = ending(golibvirt.DomainEventType(ev.Event), ev.Detail)
		}
	case golibvirt.DomainEventStarted, golibvirt.DomainEventResumed, golibvirt.DomainEventShutdown, golibvirt.DomainEventSuspended:
	case golibvirt.DomainEventDefined:
		return st, !st.Running && (st.Boot == 0 || st.Renamed)
	default:
		if golibvirt.DomainEventType(ev.Event) == golibvirt.DomainEventUndefined && st.Running {
			return st, false // it runs on, and is gone when it ends
		}
	}
	return st, true
}

// ending says in words why a machine ended.
func ending(event golibvirt.DomainEventType, detail int32) string {
	if event == golibvirt.DomainEventCrashed {
		return "its system crashed"
	}
	switch golibvirt.DomainEventStoppedDetailType(detail) {
	case golibvirt.DomainEventStoppedShutdown:
		return "it switched itself off"
	case golibvirt.DomainEventStoppedDestroyed:
		return "it was switched off from outside"
	case golibvirt.DomainEventStoppedCrashed, golibvirt.DomainEventStoppedFailed:
		return "its emulator ended"
	case golibvirt.DomainEventStoppedSaved:
		return "it was saved to disk from outside"
	}
	return "it was stopped from outside"
}

// Stats is what our domains consume.
func (p *Provider) Stats(ctx context.Context, labName string) ([]backends.NodeStats, error) {
	list, err := p.List(ctx, labName)
	if err != nil {
		return nil, err
	}
	var out []backends.NodeStats
	err = p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		out = nil
		for _, st := range list {
			if !st.Running {
				continue
			}
			dom, err := p.lookup(lv, st.Ref)
			if err != nil {
				continue
			}
			_, _, _, _, cpu, err := lv.DomainGetInfo(dom)
			if err != nil {
				continue
			}
			s := backends.NodeStats{Ref: st.Ref, CPU: time.Duration(cpu), Processes: 1}
			const resident = 7 // in KiB
			if mem, err := lv.DomainMemoryStats(dom, 16, 0); err == nil {
				for _, m := range mem {
					if m.Tag == resident {
						s.Memory = m.Val << 10
					}
				}
			}
			out = append(out, s)
		}
		return nil
	})
	return out, explain(err)
}
