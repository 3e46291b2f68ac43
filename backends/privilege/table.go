// Package privilege is the table of what every provider and every network
// needs of the machine, and looks for what of it is there. What a pair needs
// is what its two halves need: neither knows of the other.
package privilege

import "archetype/backends"

// world is where the labs live.
type world int

const (
	anywhere world = iota
	rootful        // in the machine's own namespaces
	rootless       // in a user namespace, as an ordinary user has it
)

// row is one need of one backend.
type row struct {
	role     backends.Role
	name     string
	in       world
	sort     backends.NeedSort
	what     string
	why      string
	optional bool
	fix      string
}

const (
	p = backends.RoleProvider
	n = backends.RoleNetwork

	root   = backends.NeedRoot
	userns = backends.NeedUserns
	capab  = backends.NeedCapability
	daemon = backends.NeedDaemon
	socket = backends.NeedSocket
	kernel = backends.NeedKernel
	pack   = backends.NeedPackage

	instead = "run as root, or use what an ordinary user has: the providers netns and podman, the networks linuxbridge and veth, and an Open vSwitch of their own (docs/privilege.md)"
	grant   = "run as a root that has it (in a container: --cap-add), or set ARCHETYPE_ROOTLESS=1 to use a user namespace"
	config  = "a kernel with "
)

// table is all of it. Capabilities are those of the process that runs labs in
// the machine's namespaces; in a user namespace of its own it has them all.
var table = []row{
	{p, "netns", rootful, root, "root", "nodes live in namespaces and mounts of the machine, and their daemons change users", false, "run as root, or let an ordinary user's nodes live in a user namespace (ARCHETYPE_ROOTLESS=1)"},
	{p, "netns", rootful, capab, "CAP_SYS_ADMIN", "a node's namespaces, and the mounts that make its file system", false, grant},
	{p, "netns", rootful, capab, "CAP_NET_ADMIN", "a node's loopback, sysctls and addresses", false, grant},
	{p, "netns", rootful, capab, "CAP_SYS_CHROOT", "a node's mounts are entered, for commands and consoles", false, grant},
	{p, "netns", rootful, capab, "CAP_SETPCAP", "nodes are started without the capabilities that would reach out of them into the machine", false, grant},
	{p, "netns", rootful, capab, "CAP_NET_RAW", "ping and captures in nodes", true, grant},
	{p, "netns", rootful, capab, "CAP_SETUID", "routing daemons that give up root in nodes", true, grant},
	{p, "netns", rootless, userns, "user namespace", "nodes live in one, where an ordinary user is root over them and nothing else", false, "an administrator allows them: sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"},
	{p, "netns", anywhere, kernel, "overlay", "nodes write into folders of their own over those of the machine", true, config + "CONFIG_OVERLAY_FS (modprobe overlay)"},

	{p, "docker", anywhere, root, "root", "a link's interfaces go into the containers' namespaces, which belong to the machine's root", false, instead},
	{p, "docker", rootful, capab, "CAP_SYS_ADMIN", "containers' namespaces are entered, and those of stopped ones are held by a mount", false, grant},
	{p, "docker", rootful, capab, "CAP_NET_ADMIN", "interfaces are moved, addressed and set up", false, grant},
	{p, "docker", rootful, capab, "CAP_SYS_PTRACE", "the namespaces of containers whose processes have another user are opened", true, grant},
	{p, "docker", anywhere, pack, "dockerd", "the engine (package docker.io, docker-ce or moby-engine)", true, "apt install docker.io, unless the engine is reached by a socket that something else serves"},
	{p, "docker", anywhere, socket, "docker", "the engine's API; its socket is root's and the group docker's", false, ""},
	{p, "docker", anywhere, daemon, "dockerd", "makes and runs the containers", false, ""},

	{p, "podman", rootful, root, "root", "a link's interfaces go into the containers' namespaces, which belong to the machine's root", false, "run as root, or as an ordinary user with a Podman of the user's own"},
	{p, "podman", rootless, userns, "user namespace", "Podman's own: links are made where the user's containers are", false, "start the user's own Podman (systemctl --user start podman.socket) before the first lab"},
	{p, "podman", rootless, pack, "nsenter", "labs are put into Podman's user namespace (package util-linux)", false, "apt install util-linux"},
	{p, "podman", rootless, pack, "newuidmap", "images and processes of more users than one (package uidmap, and ranges in /etc/subuid and /etc/subgid)", true, "apt install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; podman system migrate"},
	{p, "podman", rootful, capab, "CAP_SYS_ADMIN", "containers' namespaces are entered, and those of stopped ones are held by a mount", false, grant},
	{p, "podman", rootful, capab, "CAP_NET_ADMIN", "interfaces are moved, addressed and set up", false, grant},
	{p, "podman", rootful, capab, "CAP_SYS_PTRACE", "the namespaces of containers whose processes have another user are opened", true, grant},
	{p, "podman", anywhere, pack, "podman", "the engine (package podman, with runc or crun)", true, "apt install podman runc, unless the engine is reached by a socket that something else serves"},
	{p, "podman", anywhere, socket, "podman.sock", "the engine's API; the socket of the system's Podman is root's", false, ""},
	{p, "podman", anywhere, daemon, "podman system service", "makes and runs the containers", false, ""},

	{p, "libvirt", anywhere, root, "root", "taps are made on this machine, and the machines' disks belong to libvirt's root", false, instead},
	{p, "libvirt", rootful, capab, "CAP_NET_ADMIN", "taps are made and removed", false, grant},
	{p, "libvirt", anywhere, pack, "qemu-img", "makes the machines' disks (package qemu-utils)", false, "apt install qemu-utils"},
	{p, "libvirt", anywhere, pack, "libvirtd", "runs the machines (package libvirt-daemon-system, with qemu-system-x86)", true, "apt install libvirt-daemon-system qemu-system-x86"},
	{p, "libvirt", anywhere, socket, "libvirt-sock", "libvirt's API; its socket is root's and the group libvirt's", false, ""},
	{p, "libvirt", anywhere, daemon, "libvirtd", "makes and runs the machines", false, ""},

	{n, "veth", rootful, capab, "CAP_SYS_ADMIN", "nodes' namespaces are entered", false, grant},
	{n, "veth", rootful, capab, "CAP_NET_ADMIN", "interfaces are made, addressed and set up", false, grant},
	{n, "veth", anywhere, kernel, "veth", "each end of a link is a pair of interfaces", false, config + "CONFIG_VETH (modprobe veth)"},
	{n, "veth", anywhere, kernel, "mirred", "the two ends of a link are patched together", false, config + "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED (modprobe -a sch_ingress cls_u32 act_mirred), or the network linuxbridge"},
	{n, "veth", anywhere, kernel, "netem", "impairments by delay, jitter, loss and corruption", true, config + "CONFIG_NET_SCH_NETEM (modprobe sch_netem)"},
	{n, "veth", anywhere, kernel, "tbf", "impairments by rate alone", true, config + "CONFIG_NET_SCH_TBF (modprobe sch_tbf)"},

	{n, "linuxbridge", rootful, capab, "CAP_SYS_ADMIN", "nodes' namespaces are entered", false, grant},
	{n, "linuxbridge", rootful, capab, "CAP_NET_ADMIN", "interfaces and bridges are made, addressed and set up", false, grant},
	{n, "linuxbridge", anywhere, kernel, "veth", "each end of a link is a pair of interfaces", false, config + "CONFIG_VETH (modprobe veth)"},
	{n, "linuxbridge", anywhere, kernel, "bridge", "a link is a bridge", false, config + "CONFIG_BRIDGE (modprobe bridge)"},
	{n, "linuxbridge", anywhere, kernel, "netem", "impairments by delay, jitter, loss and corruption", true, config + "CONFIG_NET_SCH_NETEM (modprobe sch_netem)"},
	{n, "linuxbridge", anywhere, kernel, "tbf", "impairments by rate alone", true, config + "CONFIG_NET_SCH_TBF (modprobe sch_tbf)"},

	{n, "ovs", rootful, root, "root", "the switch's database is root's", false, instead},
	{n, "ovs", rootful, capab, "CAP_SYS_ADMIN", "nodes' namespaces and the switch's are entered", false, grant},
	{n, "ovs", rootful, capab, "CAP_NET_ADMIN", "interfaces are made, addressed and given to the switch", false, grant},
	{n, "ovs", anywhere, kernel, "veth", "each end of a link is a pair of interfaces", false, config + "CONFIG_VETH (modprobe veth)"},
	{n, "ovs", anywhere, pack, "ovs-vswitchd", "the switch (package openvswitch-switch)", true, "apt install openvswitch-switch, unless the switch runs in a container"},
	{n, "ovs", anywhere, socket, "db.sock", "the switch's database; its socket is root's", false, ""},
	{n, "ovs", anywhere, daemon, "ovsdb-server, ovs-vswitchd", "the switch itself; without root it must run in the same user namespace", false, ""},
	{n, "ovs", anywhere, kernel, "openvswitch", "the switch's kernel datapath; its userspace datapath takes its place", true, config + "CONFIG_OPENVSWITCH (modprobe openvswitch)"},
	{n, "ovs", anywhere, kernel, "netem", "impairments by delay, jitter, loss and corruption", true, config + "CONFIG_NET_SCH_NETEM (modprobe sch_netem)"},
	{n, "ovs", anywhere, kernel, "tbf", "impairments by rate alone", true, config + "CONFIG_NET_SCH_TBF (modprobe sch_tbf)"},
}
