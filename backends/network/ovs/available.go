package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// Available looks for a switch that runs, that we may change, and that is new
// enough.
func (n *Network) Available(ctx context.Context) backends.Availability {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	const another = "one elsewhere is named in settings.yaml, as in ovs: {socket: /path/db.sock}"
	if _, err := os.Stat(n.cfg.Socket); errors.Is(err, os.ErrNotExist) {
		return backends.Availability{Reason: "no Open vSwitch runs here: there is no " + n.cfg.Socket,
			Fix: "install it (apt install openvswitch-switch) and start it (systemctl start openvswitch-switch); " + another, Absent: true}
	}
	s, err := dial(ctx, n.cfg.Socket, n.owner, func(map[end]bool) {})
	switch {
	case errors.Is(err, os.ErrPermission):
		return backends.Availability{Reason: "no permission to use " + n.cfg.Socket,
			Fix: "run as root; an ordinary user can use the networks linuxbridge and veth, or an Open vSwitch that runs in the same user namespace", Absent: true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return backends.Availability{Reason: "ovsdb-server does not run: nobody answers at " + n.cfg.Socket,
			Fix: "start it (systemctl start openvswitch-switch); " + another}
	case err != nil:
		return backends.Availability{Reason: err.Error()}
	}
	defer s.close()
	schema, err := s.schema(ctx)
	if err != nil {
		return backends.Availability{Reason: "ovsdb-server: " + err.Error()}
	}
	column := schema.Table("Port").Column("vlan_mode")
	if column == nil || column.TypeObj == nil || column.TypeObj.Key == nil || !slices.Contains(column.TypeObj.Key.Enum, any("dot1q-tunnel")) {
		return backends.Availability{Reason: "this Open vSwitch is too old: it cannot carry tagged frames through a link",
			Fix: "Open vSwitch 2.8 or later"}
	}
	if err := s.follow(ctx); err != nil {
		return backends.Availability{Reason: err.Error(), Fix: "start ovs-vswitchd (systemctl start openvswitch-switch)"}
	}
	return n.serves(s)
}

// serves looks at the switch behind the database.
func (n *Network) serves(s *session) backends.Availability {
	pid, err := findSwitch(n.cfg.Socket)
	if err != nil {
		return backends.Availability{Reason: "ovs-vswitchd does not run", Fix: "start it (systemctl start openvswitch-switch)"}
	}
	panel, err := nsnet.Open(namespaceOf(pid))
	if err != nil {
		return backends.Availability{Reason: "Open vSwitch runs in a network namespace that is out of reach (" + err.Error() + ")",
			Fix: "run as root; labs without root need an Open vSwitch in the same user namespace, or the networks linuxbridge or veth"}
	}
	defer panel.Close()
	detail := []string{"Open vSwitch"}
	datapath := n.datapathIn(panel)
	if datapath == inKernel && !kernelDatapath(panel) {
		return backends.Availability{Reason: "this kernel has no datapath for Open vSwitch, which the settings ask for",
			Fix: "a kernel with CONFIG_OPENVSWITCH (modprobe openvswitch), or ovs: {datapath: auto} in settings.yaml"}
	}
	s.see(func(v *view) {
		if v.version != "" {
			detail[0] += " " + v.version
		}
		if v.limit != "" && v.limit != "1" {
			detail = append(detail, fmt.Sprintf("its other_config:vlan-limit is %s: frames with more than one VLAN tag get damaged", v.limit))
		}
	})
	bridge := "a bridge per lab"
	if n.cfg.Mode == Shared {
		var err error
		s.see(func(v *view) {
			if err = n.mine(newPlan(v, n.cfg.Bridge, "")); v.bridge(n.cfg.Bridge) != nil {
				datapath = v.bridge(n.cfg.Bridge).datapath
			}
		})
		if err != nil {
			return backends.Availability{Reason: "Open vSwitch has a bridge " + n.cfg.Bridge + " that Archetype did not make",
				Fix: "rename it, or name another in settings.yaml, as in ovs: {bridge: arch1}"}
		}
	}
	if n.cfg.Mode == Shared {
		bridge = "bridge " + n.cfg.Bridge + " for all labs"
	}
	by := "kernel datapath"
	if datapath == inUserspace {
		by = "userspace datapath"
		if err := taps("/dev/net/tun", fmt.Sprintf("/proc/%d/root/dev/net/tun", pid)); err != nil && sameUser(pid) {
			return backends.Availability{Reason: "Open vSwitch's userspace datapath makes a tap for each bridge, which it may not here: " + err.Error(),
				Fix: "an administrator makes the device (modprobe tun; mknod /dev/net/tun c 10 200) and opens it to users (chmod 666 /dev/net/tun), as udev does; or use the networks linuxbridge or veth"}
		}
	}
	return backends.Availability{OK: true, Detail: strings.Join(append(detail, by, bridge), ", ")}
}

// taps reports why they cannot be made, by this user and so by a switch of the
// same one, at any of the places.
func taps(places ...string) (first error) {
	for _, path := range places {
		tun, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			return tun.Close()
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// sameUser reports whether a process is of the user that this one is of.
func sameUser(pid int) bool {
	st, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return false
	}
	is, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(is.Uid) == os.Geteuid()
}
