package holder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/internal/ownfile"
)

// Ensure finds the running holder or starts one. Any number may do so at
// once: there is never more than one.
func Ensure(ctx context.Context, cfg Config) (*Client, error) {
	c, err := Connect(ctx, cfg)
	if !errors.Is(err, backends.ErrNotFound) {
		return c, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := ownfile.Open(cfg.lock(), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	if err := flock(ctx, lock); err != nil {
		return nil, err
	}
	c, err = Connect(ctx, cfg)
	if !errors.Is(err, backends.ErrNotFound) {
		return c, err // somebody else was first
	}
	mode := "rootful"
	if cfg.Rootless {
		mode = "rootless"
	}
	args := []string{cfg.Dir, mode}
	if cfg.Rootless && cfg.Join != nil {
		ns, err := cfg.Join()
		if err != nil {
			return nil, err
		}
		// What cannot be joined must not keep an ordinary user from having labs.
		if ns != "" && launch(cfg, true, ns, args...) == nil {
			return Connect(ctx, cfg)
		}
	}
	if err := launch(cfg, true, "", args...); err != nil {
		return nil, err
	}
	return Connect(ctx, cfg)
}

func flock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select { // somebody is starting a holder, which takes milliseconds
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// launch starts this program as the holder and waits until it says that it
// serves or why it does not. A rootless one is in the user namespace given, or
// in one of its own.
func launch(cfg Config, detached bool, ns string, args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	argv := append([]string{exe, Verb}, args...)
	if ns != "" { // only a process of one thread may enter it, which this is not
		argv = append([]string{"nsenter", "--user=" + ns, "--preserve-credentials", "unshare", "--net", "--mount", "--propagation=unchanged", "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cfg.Log != "" {
		if log, err := ownfile.Open(cfg.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY); err == nil {
			defer func() { _ = log.Close() }()
			cmd.Stderr = log
		}
	}
	if cfg.Rootless && ns == "" {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if !detached {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return refused(cfg.Rootless, err)
	}
	said, _ := io.ReadAll(r)
	if string(said) == "ok" {
		if !detached {
			return cmd.Wait()
		}
		go func() { _ = cmd.Wait() }()
		return nil
	}
	werr := cmd.Wait()
	if len(said) > 0 {
		return fmt.Errorf("the holder did not start: %s", said)
	}
	return fmt.Errorf("the holder did not start: %w", werr)
}

// forbidden is an error with advice about how to make it work.
type forbidden struct {
	reason, fix string
	err         error
}

func (f *forbidden) Error() string   { return f.reason + ": " + f.err.Error() + "; " + f.fix }
func (f *forbidden) Unwrap() []error { return []error{f.err, backends.ErrUnavailable} }

// Settings of the kernel that forbid namespaces to ordinary users. Each is called
// by its place below /proc/sys.
var gates = []struct{ file, bad, fix string }{
	{"/proc/sys/user/max_user_namespaces", "0", "an administrator can allow them with: sysctl user.max_user_namespaces=15000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "an administrator can allow them with: sysctl kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "an administrator can allow them with: sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
}

// refused explains why the kernel would not make namespaces.
func refused(rootless bool, err error) error {
	if !rootless {
		return &forbidden{"this root may not make namespaces", "it needs the capability CAP_SYS_ADMIN (in a container, run it with --privileged or try ARCHETYPE_ROOTLESS=1)", err}
	}
	f := &forbidden{"user namespaces are not permitted here", "run as root, or allow user namespaces (inside a container: its seccomp profile must permit unshare)", err}
	for _, g := range gates {
		if b, rerr := os.ReadFile(g.file); rerr == nil && strings.TrimSpace(string(b)) == g.bad {
			f.fix = g.fix
			// What the kernel answers says less: of too many of them that no space is left.
			f.err = fmt.Errorf("%s is %s: %w", strings.ReplaceAll(strings.TrimPrefix(g.file, "/proc/sys/"), "/", "."), g.bad, cause(err))
			break
		}
	}
	return f
}

// cause is what the kernel said, without what was to be started.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// Probe tries what a holder needs, in namespaces that vanish at once.
func Probe(rootless bool) backends.Availability {
	err := launch(Config{Rootless: rootless}, false, "", "probe")
	var f *forbidden
	switch {
	case err == nil:
		mode := "as root, in namespaces of the machine"
		if rootless {
			mode = "rootless, in a user namespace"
		}
		return backends.Availability{OK: true, Detail: mode}
	case errors.As(err, &f):
		return backends.Availability{Reason: f.reason + ": " + f.err.Error(), Fix: f.fix}
	}
	return backends.Availability{Reason: err.Error()}
}

// probe runs in fresh namespaces and makes what nodes and links are made of.
func probe() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("a node's own /proc: %w (a container that hides parts of /proc forbids it)", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "probe0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "probe1"}); err != nil {
		return fmt.Errorf("veth pairs: %w", err)
	}
	return nil
}
