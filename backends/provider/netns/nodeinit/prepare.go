package nodeinit

import (
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/stub"
)

// Prepare makes all of a node that can be made before it has a process. The
// calling thread must be in the node's network namespace and in a fresh mount
// namespace, which becomes the node's view of the machine.
//
// An idle node has no use for such a view before somebody uses it: until then
// it sees the machine as it is, and can change nothing.
func Prepare(cfg *Config, idle bool) error {
	build := (&view{cfg: cfg}).build
	if idle {
		build = seeOnly
	}
	if err := build(); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	return withInterfaces([]string{"lo"}, func(fd int, lo *unix.Ifreq) error {
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
			return err
		}
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	})
}

// withInterfaces calls f for each interface, until there is an error.
func withInterfaces(names []string, f func(fd int, i *unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, name := range names {
		i, err := unix.NewIfreq(name)
		if err == nil {
			err = f(fd, i)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
	}
	return nil
}

// Idle reports whether a node has booted once its steps are taken: it runs
// nothing until somebody uses it, has all its interfaces, and nothing of it
// can turn out to be missing. Of one that is, it tells what Dark does. The
// calling thread must be in its network namespace.
func Idle(cfg *Config) (idle, dark bool) {
	const longest = 64 // that the kernel takes
	if len(cfg.Processes)+len(cfg.Exec)+len(cfg.Sysctls)+len(cfg.Mounts) > 0 || cfg.Bridge != "" || len(cfg.Hostname) > longest {
		return false, false
	}
	err := withInterfaces(cfg.Interfaces, func(fd int, i *unix.Ifreq) error {
		err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, i)
		dark = dark || i.Uint16()&unix.IFF_UP == 0
		return err
	})
	if err != nil {
		return false, false
	}
	return true, dark
}

// Dark reports whether an interface of the node is down: it was made while the
// node did not run. The calling thread must be in its network namespace.
func Dark(cfg *Config) (dark bool) {
	_ = withInterfaces(cfg.Interfaces, func(fd int, i *unix.Ifreq) error {
		err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, i)
		dark = dark || err == nil && i.Uint16()&unix.IFF_UP == 0
		return nil // one that is not there is not down
	})
	return dark
}

// DropCapabilities takes from all that the calling thread will start what
// would let it reach out of a node into the machine.
func DropCapabilities() error {
	for _, c := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME,
		unix.CAP_MKNOD, unix.CAP_SYSLOG, unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_WRITE, unix.CAP_AUDIT_READ,
		unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_WAKE_ALARM, unix.CAP_BLOCK_SUSPEND,
		unix.CAP_LINUX_IMMUTABLE, unix.CAP_PERFMON, unix.CAP_BPF, unix.CAP_CHECKPOINT_RESTORE} {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err != nil && err != unix.EINVAL { // EINVAL: this kernel has no such capability
			return err
		}
	}
	return nil
}

func must(what string, nr uintptr, args ...any) stub.Call {
	return stub.Call{Nr: nr, Args: args, Op: stub.Must, Fail: "archetype-init: failed: " + what + "\n"}
}

// first are the steps of a node that nobody has used.
func first(cfg *Config) []stub.Call {
	return []stub.Call{
		{Nr: unix.SYS_PRCTL, Args: []any{unix.PR_SET_NAME, "archetype"}, Op: stub.Try},
		must("hostname", unix.SYS_SETHOSTNAME, cfg.Hostname, len(cfg.Hostname)),
		must("/proc", unix.SYS_MOUNT, "proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, 0),
	}
}

// steps are what only a process inside the node can do for it.
func steps(cfg *Config) []stub.Call {
	out := first(cfg)
	if cfg.Rootless {
		return out // the kernel refuses what is not the node's own
	}
	// The machine's own settings are not the node's to change, except those
	// of its network.
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	attr := unsafe.Slice((*byte)(unsafe.Pointer(&readOnly)), unsafe.Sizeof(readOnly))
	return append(out,
		must("/proc/sys", unix.SYS_MOUNT, "/proc/sys", "/proc/sys", 0, unix.MS_BIND, 0),
		must("/proc/sys/net", unix.SYS_MOUNT, "/proc/sys/net", "/proc/sys/net", 0, unix.MS_BIND, 0),
		must("/proc/sys", unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, "/proc/sys", 0, attr, len(attr)))
}

// Stub is the first process of a node: it takes the steps and then is the
// program, at once or, where the node is Idle, when somebody comes to use it.
// It is started with the descriptors of an init, a signalfd for Signals and
// one of the program; where the node is Idle, with these Signals blocked.
func Stub(cfg *Config, idle bool) []stub.Call {
	out := steps(cfg)
	if idle {
		out = waiting(cfg, first(cfg))
	}
	return append(out, stub.Call{Nr: unix.SYS_EXECVEAT, Args: []any{programFD, "", 0, 0, unix.AT_EMPTY_PATH},
		Op: stub.Become, Fail: "archetype-init: failed: the program cannot be started\n"})
}

// Signals are those that end a waiting node.
func Signals() unix.Sigset_t {
	var set unix.Sigset_t
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		set.Val[0] |= 1 << (s - 1)
	}
	return set
}

// Boots is what an idle node says when it boots.
func Boots(cfg *Config) string {
	n := len(cfg.Interfaces)
	return fmt.Sprintf("archetype-init: namespaces ready\narchetype-init: interfaces %d/%d\narchetype-init: ready\n", n, n)
}

// waiting puts around the steps what an idle node does beside them.
func waiting(cfg *Config, steps []stub.Call) []stub.Call {
	text := Boots(cfg)
	none := make([]byte, 8) // the kernel's own set has 64
	polled := []unix.PollFd{{Fd: signalsFD, Events: unix.POLLIN}, {Fd: controlFD, Events: unix.POLLIN}}
	fds := unsafe.Slice((*byte)(unsafe.Pointer(&polled[0])), 2*unsafe.Sizeof(polled[0]))
	const leave = "archetype-init: failed: its own mount namespace\n"
	out := steps
	if cfg.Log == "" {
		out = append(out, stub.Call{Nr: unix.SYS_WRITE, Args: []any{1, text, len(text)}, Op: stub.Try})
	}
	out = append(out, []stub.Call{
		{Nr: unix.SYS_PPOLL, Args: []any{fds, 2, 0, 0, 0}, Op: stub.Try},
		{Op: stub.ExitIf, Args: []any{stub.Part{Of: fds, At: int(unsafe.Offsetof(polled[0].Revents))}}},
		{Nr: unix.SYS_RT_SIGPROCMASK, Args: []any{unix.SIG_SETMASK, none, 0, len(none)}, Op: stub.Try},
		// Its view is built anew: from what only looks, nothing can be made.
		{Nr: unix.SYS_SETNS, Args: []any{machineFD, unix.CLONE_NEWNS}, Op: stub.Must, Fail: leave},
	}...)
	if cfg.Log != "" { // opened on the machine's own mounts, since those of the node become read-only
		out = append(out,
			stub.Call{Nr: unix.SYS_MKDIRAT, Args: []any{unix.AT_FDCWD, filepath.Dir(cfg.Log), 0o700}, Op: stub.Try}, // which somebody may have removed
			stub.Call{Nr: unix.SYS_CLOSE, Args: []any{1}, Op: stub.Try},                                             // so that the next that is opened is 1
			stub.Call{Nr: unix.SYS_OPENAT, Args: []any{unix.AT_FDCWD, cfg.Log, unix.O_CREAT | unix.O_APPEND | unix.O_RDWR, 0o600}, Op: stub.Try},
			stub.Call{Nr: unix.SYS_DUP3, Args: []any{1, 2, 0}, Op: stub.Try},
			stub.Call{Nr: unix.SYS_WRITE, Args: []any{1, cfg.Said, len(cfg.Said)}, Op: stub.Try})
	}
	out = append(out, stub.Call{Nr: unix.SYS_UNSHARE, Args: []any{unix.CLONE_NEWNS}, Op: stub.Must, Fail: leave})
	if cfg.Log != "" { // what fails is said where others say it, too
		for i := range out {
			if out[i].Fail != "" {
				out[i].Fail = "node " + cfg.Hostname + ": " + out[i].Fail
			}
		}
	}
	return out
}
