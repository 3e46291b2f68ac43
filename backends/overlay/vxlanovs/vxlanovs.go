// Package vxlanovs makes tunnels of Open vSwitch's VXLAN: a bridge for each,
// with the tunnel as one port and the link that meets it as another.
package vxlanovs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/backends/network/ovs"
	"archetype/backends/overlay"
	"archetype/lab"
)

// What a tunnel's bridge carries in its external_ids.
const (
	idLab  = "archetype-tunnel-lab"
	idNear = "archetype-tunnel-near"
	idFar  = "archetype-tunnel-far"
)

// Overlay implements backends.Overlay. Its counters are as old as the
// switch's own, five seconds at most unless it was told otherwise.
type Overlay struct {
	sw *ovs.Network
	mu sync.Mutex // one at a time: two new tunnels must not pick one VNI
}

var _ backends.Overlay = (*Overlay)(nil)

// New makes the overlay on a switch.
func New(sw *ovs.Network) *Overlay { return &Overlay{sw: sw} }

// Name is "vxlanovs".
func (o *Overlay) Name() string { return "vxlanovs" }

// Available is the switch's word.
func (o *Overlay) Available(ctx context.Context) backends.Availability { return o.sw.Available(ctx) }

func tunnelName(t backends.Tunnel) string { return nsnet.Name("v", t.Lab, t.ID()) }
func bridgeName(t backends.Tunnel) string { return nsnet.Name("w", t.Lab, t.ID()) }
func portName(t backends.Tunnel) string   { return nsnet.Name("x", t.Lab, t.ID()) }

// place opens the namespace that the switch sends from.
func (o *Overlay) place(ctx context.Context) (ns *nsnet.NS, path, datapath string, err error) {
	if path, datapath, err = o.sw.Place(ctx); err != nil {
		return nil, "", "", err
	}
	ns, err = nsnet.Open(path)
	return ns, path, datapath, err
}

// Create makes the near end and joins what stands at its attachment.
func (o *Overlay) Create(ctx context.Context, want backends.Tunnel) (backends.TunnelStatus, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var none backends.TunnelStatus
	t, err := overlay.Complete(want)
	if err != nil {
		return none, err
	}
	ns, _, datapath, err := o.place(ctx)
	if err != nil {
		return none, err
	}
	defer ns.Close()
	path, err := overlay.Find(ns, t)
	if err != nil {
		return none, err
	}
	t.Local = path.Local
	mtu, note, err := overlay.Fit(t, path)
	if err != nil {
		return none, err
	}
	t.MTU = mtu
	if datapath == "netdev" {
		// A switch in user space sends by itself, through its own ports only.
		if has, err := o.sw.HasBridge(ctx, path.Device); err != nil || !has {
			return none, errors.Join(err, fmt.Errorf("tunnel %s: Open vSwitch's userspace datapath reaches %s only through a bridge of its own, and the route goes through %s: make that a port of a bridge that has its address, or use the overlay vxlan (%w)",
				t.ID(), t.Remote, path.Device, backends.ErrUnavailable))
		}
	}
	if err := o.records(ctx, t, datapath); err != nil {
		return none, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	if err := o.join(ctx, ns, t); err != nil {
		return none, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	st, err := o.observe(ctx, t)
	if note != "" {
		st.Notes = append(st.Notes, note)
	}
	return st, err
}

func options(t backends.Tunnel) map[string]string {
	return map[string]string{"remote_ip": t.Remote.String(), "local_ip": t.Local.String(),
		"key": strconv.Itoa(int(t.VNI)), "dst_port": strconv.Itoa(int(t.UDPPort))}
}

// records brings the switch's records to where they should be.
func (o *Overlay) records(ctx context.Context, t backends.Tunnel, datapath string) error {
	found, err := o.sw.Transact(ctx,
		selection("Interface", []string{"_uuid", "name", "options"}, ovsdb.NewCondition("type", ovsdb.ConditionEqual, "vxlan")),
		selection("Bridge", []string{"_uuid", "external_ids"}, ovsdb.NewCondition("name", ovsdb.ConditionEqual, bridgeName(t))))
	if err != nil {
		return err
	}
	have := ""
	for _, row := range found[0].Rows {
		opt := table(row["options"])
		switch {
		case row["name"] == tunnelName(t):
			have = uuid(row)
		case opt["key"] == strconv.Itoa(int(t.VNI)) && port(opt) == int(t.UDPPort):
			return overlay.Taken(t, fmt.Sprintf("port %s of Open vSwitch", row["name"]))
		}
	}
	if have != "" && len(found[1].Rows) == 1 {
		_, err = o.sw.Transact(ctx, ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: "Interface", Where: is(have),
			Row: ovsdb.Row{"options": mapOf(options(t))}})
		return err
	}
	if len(found[1].Rows) == 1 { // its tunnel was taken off it
		_, err = o.sw.Transact(ctx,
			insert("Interface", "itunnel", ovsdb.Row{"name": tunnelName(t), "type": "vxlan", "options": mapOf(options(t))}),
			insert("Port", "tunnel", ovsdb.Row{"name": tunnelName(t), "interfaces": ovsdb.UUID{GoUUID: "itunnel"}}),
			mutate("Bridge", uuid(found[1].Rows[0]), "ports", ovsdb.MutateOperationInsert, "tunnel"))
		return err
	}
	root, err := o.sw.Root(ctx)
	if err != nil {
		return err
	}
	bridge := bridgeName(t)
	_, err = o.sw.Transact(ctx,
		insert("Interface", "itunnel", ovsdb.Row{"name": tunnelName(t), "type": "vxlan", "options": mapOf(options(t))}),
		insert("Port", "tunnel", ovsdb.Row{"name": tunnelName(t), "interfaces": ovsdb.UUID{GoUUID: "itunnel"}}),
		insert("Interface", "iown", ovsdb.Row{"name": bridge, "type": "internal"}),
		insert("Port", "own", ovsdb.Row{"name": bridge, "interfaces": ovsdb.UUID{GoUUID: "iown"}}),
		insert("Bridge", "bridge", ovsdb.Row{"name": bridge, "datapath_type": datapath, "mcast_snooping_enable": false,
			"ports":        ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "tunnel"}, ovsdb.UUID{GoUUID: "own"}}},
			"external_ids": mapOf(map[string]string{idLab: t.Lab, idNear: t.Near, idFar: t.Far}),
			"other_config": mapOf(map[string]string{"forward-bpdu": "true"})}),
		mutate("Open_vSwitch", root, "bridges", ovsdb.MutateOperationInsert, "bridge"))
	return err
}

// join puts what a network made at the attachment onto the bridge.
func (o *Overlay) join(ctx context.Context, ns *nsnet.NS, t backends.Tunnel) error {
	p, err := ns.Find(portName(t))
	if p == nil || err != nil {
		return err
	}
	if p.Attrs().MTU != t.MTU {
		if err := ns.LinkSetMTU(p, t.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", t.MTU, err)
		}
	}
	// A cable's end has no address and says nothing.
	if err := ns.Sysctl("ipv6/conf/"+portName(t)+"/disable_ipv6", "1"); err != nil {
		return err
	}
	return o.sw.AddPort(ctx, bridgeName(t), portName(t), t.Lab)
}

// Delete removes the tunnel's bridge and with it its ports.
func (o *Overlay) Delete(ctx context.Context, t backends.Tunnel) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.sw.Transact(ctx, selection("Bridge", []string{"_uuid"}, ovsdb.NewCondition("name", ovsdb.ConditionEqual, bridgeName(t))))
	if err == nil && len(found[0].Rows) == 1 {
		var root string
		if root, err = o.sw.Root(ctx); err == nil {
			_, err = o.sw.Transact(ctx, ovsdb.Operation{Op: ovsdb.OperationMutate, Table: "Open_vSwitch", Where: is(root), Mutations: []ovsdb.Mutation{{
				Column: "bridges", Mutator: ovsdb.MutateOperationDelete, Value: ovsdb.UUID{GoUUID: uuid(found[0].Rows[0])}}}})
		}
	}
	if err != nil {
		return fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	return nil
}

// Status observes the near end and asks after the far one.
func (o *Overlay) Status(ctx context.Context, t backends.Tunnel) (backends.TunnelStatus, error) {
	st, err := o.observe(ctx, t)
	if err != nil || st.State != lab.TunnelActive {
		return st, err
	}
	ns, _, _, err := o.place(ctx)
	if err != nil {
		return st, err
	}
	defer ns.Close()
	why := overlay.Refused(ctx, ns, st.Tunnel)
	if why == "" {
		why = overlay.Unanswered(ns, st.Tunnel)
	}
	if why != "" {
		st.State, st.Carrier, st.Reason = lab.TunnelFailed, lab.CarrierOff, why
	}
	return st, nil
}

// List finds the bridges by what they carry.
func (o *Overlay) List(ctx context.Context, labName string) ([]backends.TunnelStatus, error) {
	found, err := o.sw.Transact(ctx, selection("Bridge", []string{"external_ids"}, ovsdb.NewCondition("name", ovsdb.ConditionNotEqual, "")))
	if err != nil {
		return nil, err
	}
	var out []backends.TunnelStatus
	for _, row := range found[0].Rows {
		ids := table(row["external_ids"])
		t := backends.Tunnel{Lab: ids[idLab], Near: ids[idNear], Far: ids[idFar]}
		if t.Lab == "" || labName != "" && labName != t.Lab {
			continue
		}
		st, err := o.observe(ctx, t)
		if errors.Is(err, backends.ErrNotFound) {
			continue // it has just gone
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// observe says what there is of the near end, and whether it could carry
// anything.
func (o *Overlay) observe(ctx context.Context, t backends.Tunnel) (backends.TunnelStatus, error) {
	st := backends.TunnelStatus{Tunnel: t, State: lab.TunnelFailed, Carrier: lab.CarrierOff}
	ns, place, _, err := o.place(ctx)
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	defer ns.Close()
	st.Attachment = backends.Attachment{Netns: place, Interface: portName(t)}
	st.Whole = o.sw.Whole(ctx, bridgeName(t))
	named := func(name string) ovsdb.Condition {
		return ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)
	}
	found, err := o.sw.Transact(ctx,
		selection("Bridge", []string{"ports", "external_ids"}, named(bridgeName(t))),
		selection("Interface", []string{"options", "ofport", "error", "statistics"}, named(tunnelName(t))),
		selection("Port", []string{"_uuid"}, named(portName(t))))
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	bridges, tunnels, ports := found[0].Rows, found[1].Rows, found[2].Rows
	if len(bridges) == 0 && len(tunnels) == 0 {
		st.State = lab.TunnelPending
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), backends.ErrNotFound)
	}
	if len(bridges) == 0 || len(tunnels) == 0 {
		st.Reason = "a part of it is missing: it is made anew when the tunnel is created again"
		return st, nil
	}
	ids, opt, stats := table(bridges[0]["external_ids"]), table(tunnels[0]["options"]), numbers(tunnels[0]["statistics"])
	st.Near, st.Far = ids[idNear], ids[idFar]
	st.Remote, _ = netip.ParseAddr(opt["remote_ip"])
	st.Local, _ = netip.ParseAddr(opt["local_ip"])
	key, _ := strconv.Atoi(opt["key"])
	st.VNI, st.UDPPort = uint32(key), uint16(port(opt))
	st.Rx = backends.Counters{Packets: stats["rx_packets"], Bytes: stats["rx_bytes"], Errors: stats["rx_errors"], Dropped: stats["rx_dropped"]}
	st.Tx = backends.Counters{Packets: stats["tx_packets"], Bytes: stats["tx_bytes"], Errors: stats["tx_errors"], Dropped: stats["tx_dropped"]}
	if text, _ := tunnels[0]["error"].(string); text != "" {
		st.Reason = "Open vSwitch: " + text
		return st, nil
	}
	path, err := overlay.Find(ns, st.Tunnel)
	st.Device, st.PathMTU = path.Device, path.MTU
	if err != nil {
		st.Reason = err.Error()
		return st, nil
	}
	room := path.MTU - overlay.Overhead(st.Remote)
	p, err := ns.Find(portName(t))
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	switch {
	case p != nil:
		st.MTU = p.Attrs().MTU
	case st.MTU == 0:
		st.MTU = min(room, 1500)
	}
	if st.Reason = overlay.Narrowed(st.Tunnel, path); st.Reason != "" {
		return st, nil
	}
	st.State, st.Carrier = lab.TunnelActive, lab.CarrierOn
	st.Joined = p != nil && len(ports) == 1 && contains(bridges[0]["ports"], uuid(ports[0]))
	switch {
	case p == nil:
		st.Reason = "no link meets it"
	case !st.Joined:
		st.Reason = "the link that meets it is not joined to it"
	}
	return st, nil
}
