package podman

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
)

// A user's own Podman has its containers in a user namespace, which a process
// of its own holds. Whoever is to wire them must be in that namespace too.

// UserNamespace is the path of the user namespace of the Podman that an
// ordinary user has, or empty where there is none that could be joined. Where
// nodes are known that are to be in it, it is made if it isn't there: after a
// boot the user may start the program before Podman. It is an error where that
// cannot be known yet: from any other namespace those nodes would stay out of
// reach for as long as their labs are there.
func UserNamespace(ctx context.Context, cfg Config) (string, error) {
	cfg.Rootless = true
	p := &Provider{cfg: cfg}
	socket, no := p.endpoint().Path()
	if no != nil {
		return "", nil
	}
	wait := patience
	_, err := os.Stat(cfg.Run)
	known := cfg.Run != "" && err == nil
	if known {
		wait = rousing
	}
	if service.Look(socket) == nil {
		if path := theirs(ctx, socket, wait); path != "" {
			return path, nil
		}
	}
	if !known {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", "unshare", "readlink", "/proc/self/ns/user")
	cmd.Dir = "/" // what holds the namespace stays, and knows nothing of this program
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ARCHETYPE_") || strings.HasPrefix(v, "PWD=") || strings.HasPrefix(v, "CONTAINER_") // with CONTAINER_HOST it would ask the service
	})
	cmd.WaitDelay = patience // its child has the pipe, too
	name, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("it is not known where this user's containers are, to be wired there: podman unshare did not answer (%w): try again once it does (%w)",
			ctx.Err(), backends.ErrUnavailable)
	}
	if err != nil { // there is none any more, or it can have no containers here
		return "", nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*/ns/user")
	for _, path := range all {
		if is, err := os.Readlink(path); err == nil && is == strings.TrimSpace(string(name)) && !mine(path) {
			return path, nil // of the process by which Podman holds it
		}
	}
	return "", nil
}

// rousing is how long Podman may take for its first word after a boot, when
// there is much else to do and labs wait for it.
const rousing = time.Minute

// theirs is the path of the user namespace of the service at a socket, where
// that is another than ours and its containers' one is to be found; else empty.
func theirs(ctx context.Context, socket string, wait time.Duration) string {
	pid := listener(ctx, socket)
	if path := namespaceOf(pid); path != "" && !mine(path) {
		return path
	}
	// Somebody else may listen for the service, and start it when it is asked.
	if awake(ctx, socket, wait) {
		if path := namespaceOf(pause()); path != "" && !mine(path) {
			return path
		}
	}
	return ""
}

// joined reports whether this process is in the user namespace in which the
// service at a socket has its containers.
func joined(ctx context.Context, socket string) bool {
	if mine(namespaceOf(listener(ctx, socket))) {
		return true
	}
	return awake(ctx, socket, patience) && mine(namespaceOf(pause()))
}

// listener is the process that listens at a socket, or 0.
func listener(ctx context.Context, socket string) int {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	var cred *unix.Ucred
	err = raw.Control(func(fd uintptr) { cred, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || cred == nil {
		return 0
	}
	return int(cred.Pid)
}

// awake asks the service whether it is there, which starts it where it is
// started on demand.
func awake(ctx context.Context, socket string, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://podman/_ping", http.NoBody)
	if err != nil {
		return false
	}
	res, err := h.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return true
}

// pause is the process by which Podman holds the user's namespace, or 0.
func pause() int {
	text, err := os.ReadFile(filepath.Join(runtimeDir(), "libpod", "tmp", "pause.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// runtimeDir is the user's folder for sockets and the like, as Podman has it:
// who has not logged in but become that user (su) may have none of the system's.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir
	}
	dir := fmt.Sprintf("/run/user/%d", userID())
	if _, err := os.Stat(dir); err != nil {
		return fmt.Sprintf("/tmp/podman-run-%d", userID())
	}
	return dir
}

// userID is the user's own, also in a user namespace where it is 0.
func userID() int {
	uid := os.Geteuid()
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || uid != 0 {
		return uid
	}
	var inside, outside, n int
	if _, err := fmt.Sscan(string(text), &inside, &outside, &n); err == nil && inside == 0 {
		return outside
	}
	return uid
}

// namespaceOf is the path of a process's user namespace, or empty when there
// is no such process or it is none that this one may look at.
func namespaceOf(pid int) string {
	path := fmt.Sprintf("/proc/%d/ns/user", pid)
	if _, err := os.Stat(path); pid == 0 || err != nil {
		return ""
	}
	return path
}

// mine reports whether a user namespace is the one that this process is in.
func mine(path string) bool {
	x, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		return false
	}
	y, err := os.Stat(path)
	return err == nil && os.SameFile(x, y)
}
