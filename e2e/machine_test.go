package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/internal/osthread"
)

// envSandbox tells a test that it runs alone, as the first process of
// namespaces of its own, and where the program is.
const envSandbox = "E2E_SANDBOX"

// TestMachineIsAsItWas compares all of a machine before a lab, while it runs
// and after its end. The machine is a sandbox, so that nobody else's doing
// shows in it.
func TestMachineIsAsItWas(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		inSandbox(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	for _, m := range modes {
		for _, network := range networks {
			t.Run(string(m)+"/"+network, func(t *testing.T) {
				t.Parallel()
				alone(t, "E2E_MODE="+string(m), "E2E_NETWORK="+network)
			})
		}
	}
}

// alone runs the test once more, as the first process of namespaces of its
// own, with that in its environment. What it says there is said here.
func alone(t *testing.T, env ...string) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=0")
	cmd.Env = append(append(os.Environ(), envSandbox+"="+program), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if os.Getenv("E2E_TELL") != "" {
		cmd.Stderr = os.Stderr // what takes long tells there how far it is
	}
	err := osthread.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("%v\n%s", err, said.String())
	} else if strings.Contains(said.String(), "--- SKIP") {
		t.Skipf("%s", said.String())
	}
}

// enterSandbox makes the new namespaces look like a machine.
func enterSandbox(t *testing.T) {
	if os.Getpid() != 1 {
		t.Fatal("this is for the sandbox")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for dir, fstype := range map[string]string{"/proc": "proc", "/run": "tmpfs"} {
		if err := unix.Mount(fstype, dir, fstype, 0, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func inSandbox(t *testing.T) {
	enterSandbox(t)
	w := newWorld(t, mode(os.Getenv("E2E_MODE")))
	file := w.file("quickstart.clab.yml", example(t, "quickstart"))
	w.ok("doctor") // the first use of all makes the folder for state
	before := lookAround(w)
	w.ok("deploy", file, "--network", os.Getenv("E2E_NETWORK"))
	running := lookAround(w)
	for _, what := range []string{"links", "mounts", "named namespaces"} {
		if got, want := strings.Join(running[what], "\n"), strings.Join(before[what], "\n"); got != want {
			t.Errorf("%s while the lab runs:\n%s\nand before:\n%s", what, got, want)
		}
	}
	w.ok("link", "disconnect", "quickstart", "pc3:eth1", "sw2:eth2")
	w.ok("stop", "quickstart", "pc2")
	w.ok("destroy", "quickstart", "--yes")
	after := lookAround(w)
	for what, want := range before {
		if got := after[what]; !slices.Equal(got, want) {
			t.Errorf("%s after destroy:\n%s\nand before:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// stays reports whether a file is to stay when all labs have gone: what was
// learned of kinds, what was said, what labs were made with, and backups of the
// store.
func stays(path string) bool {
	switch filepath.Base(path) {
	case "boot-times.json", "engine.log", "holder.log":
		return true
	}
	return strings.Contains(path, ".backup-") || strings.HasSuffix(path, "/used") || filepath.Base(filepath.Dir(path)) == "used"
}

// lookAround lists what ip link, ps, mount, ip netns and lsns show, and the
// files of the user.
func lookAround(w *world) map[string][]string {
	w.Helper()
	reapOrphans()
	out := map[string][]string{}
	ifs, err := net.Interfaces()
	if err != nil {
		w.Fatal(err)
	}
	for _, i := range ifs {
		out["links"] = append(out["links"], fmt.Sprint(i.Index, i.Name, i.Flags, i.MTU))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		w.Fatal(err)
	}
	out["mounts"] = strings.Split(string(mounts), "\n")
	out["named namespaces"] = names("/run/netns")
	out["run"] = names("/run")
	seen := map[string]bool{}
	for _, name := range names("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", name, "cmdline"))
		stat, _ := os.ReadFile(filepath.Join("/proc", name, "stat"))
		out["processes"] = append(out["processes"], strings.ReplaceAll(string(cmdline), "\x00", " ")+string(stat))
		for _, ns := range names(filepath.Join("/proc", name, "ns")) {
			id, _ := os.Readlink(filepath.Join("/proc", name, "ns", ns))
			seen[id] = true
		}
	}
	for id := range seen {
		out["namespaces"] = append(out["namespaces"], id)
	}
	slices.Sort(out["namespaces"])
	_ = filepath.WalkDir(w.dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !stays(p) {
			out["files"] = append(out["files"], p)
		}
		return nil
	})
	return out
}

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// reapOrphans does the duty of a machine's first process.
func reapOrphans() {
	for {
		var ws unix.WaitStatus
		if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); err != nil || pid <= 0 {
			return
		}
	}
}
