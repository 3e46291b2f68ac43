// Package libvirttest gives tests a libvirtd of their own, with its own files,
// sockets and processes, which ends with the test and all its machines too.
package libvirttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"archetype/backends/provider/libvirt"
	"archetype/internal/guest"
	"archetype/internal/osthread"
)

// Daemon is a libvirtd in namespaces of its own for mounts and processes. It
// is in the network of whoever started it: taps are there.
type Daemon struct {
	Socket string // where it answers
	Dir    string
	t      testing.TB

	box  *exec.Cmd // holds the namespaces, and takes all that is in them along
	pid  int       // of the box's first process, as seen from here
	mu   sync.Mutex
	libv *exec.Cmd
}

// patience is for a daemon to come or go.
const patience = 60 * time.Second

// Start starts one, and skips the test where the machine lacks something.
func Start(t testing.TB) *Daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("libvirtd needs root")
	}
	for _, program := range []string{"libvirtd", guest.QEMU, "qemu-img", "unshare", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no libvirt: ", err)
		}
	}
	dir, err := os.MkdirTemp("", "libvirt")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, Dir: dir, Socket: filepath.Join(dir, "s", "libvirt-sock")}
	t.Cleanup(d.end)
	for name, text := range map[string]string{
		// A mount hides the machine's own files from it, and its from the machine.
		"box":                   "set -e\nfor d in run var/lib/libvirt var/cache/libvirt var/log/libvirt etc/libvirt; do mkdir -p /$d; mount --bind " + dir + "/$d /$d; done\necho ready\n# The first process inherits the emulators, and must take note of their end.\nwhile :; do sleep 100000 & wait $!; done\n",
		"libvirtd.conf":         "unix_sock_dir = \"" + dir + "/s\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
		"etc/libvirt/qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\ndynamic_ownership = 0\nremember_owner = 0\nstdio_handler = \"file\"\nnamespaces = []\ncgroup_controllers = []\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"s", "run", "var/lib/libvirt", "var/cache/libvirt", "var/log/libvirt"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.box = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", filepath.Join(dir, "box"))
	d.box.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	d.box.Stderr = os.Stderr
	out, err := d.box.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := osthread.Start(d.box); err != nil {
		t.Skip("namespaces for libvirtd: ", err)
	}
	ready := make([]byte, 6)
	if n, _ := out.Read(ready); !strings.HasPrefix(string(ready[:n]), "ready") {
		t.Skip("the namespaces for libvirtd are not to be had here")
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", d.box.Process.Pid, d.box.Process.Pid))
	if err == nil {
		d.pid, err = strconv.Atoi(strings.Fields(string(children))[0])
	}
	if err != nil {
		t.Fatal("the first process in the namespaces: ", err)
	}
	d.Run()
	return d
}

// Run starts libvirtd, which must not be running, and returns when it answers.
func (d *Daemon) Run() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.libv = exec.Command("nsenter", "-t", strconv.Itoa(d.pid), "--mount", "--pid", "libvirtd", "-f", filepath.Join(d.Dir, "libvirtd.conf"))
	log, err := os.OpenFile(filepath.Join(d.Dir, "libvirtd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	d.libv.Stdout, d.libv.Stderr = log, log
	if err := d.libv.Start(); err != nil {
		d.t.Fatal(err)
	}
	for over := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("unix", d.Socket)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(over) {
			d.t.Fatalf("libvirtd does not answer: %v\n%s", err, d.Log())
		}
	}
}

// Hide has a folder be empty for libvirtd and all that it starts, until the
// function that is returned is called.
func (d *Daemon) Hide(dir string) (show func()) {
	d.t.Helper()
	inside := func(words ...string) {
		d.t.Helper()
		if out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(d.pid), "--mount"}, words...)...).CombinedOutput(); err != nil {
			d.t.Fatalf("%v: %v: %s", words, err, out)
		}
	}
	inside("mount", "-t", "tmpfs", "none", dir)
	return func() { inside("umount", dir) }
}

// Stop kills libvirtd alone; its machines go on.
func (d *Daemon) Stop() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.libv == nil {
		return
	}
	// nsenter forks when it changes the process namespace: kill what it started.
	// One that is about to end still listens, so its end is awaited.
	for over := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := processes("libvirtd.conf", d.Dir)
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(left) == 0 || time.Now().After(over) {
			break
		}
	}
	_ = d.libv.Wait()
	d.libv = nil
}

// Domains are the names of all that it has.
func (d *Daemon) Domains() []string {
	d.t.Helper()
	out, err := exec.Command("virsh", "-q", "-c", d.URI(), "list", "--all", "--name").Output()
	if err != nil {
		d.t.Fatal("virsh list: ", err)
	}
	return strings.Fields(string(out))
}

// URI is where libvirt's programs find it.
func (d *Daemon) URI() string { return "qemu:///system?socket=" + d.Socket }

// Log is what libvirtd has said.
func (d *Daemon) Log() string {
	data, _ := os.ReadFile(filepath.Join(d.Dir, "libvirtd.log"))
	return string(data)
}

func (d *Daemon) end() {
	d.Stop()
	if d.box != nil && d.box.Process != nil {
		_ = d.box.Process.Kill() // takes its child along, the first process, and with it all others
		_ = d.box.Wait()
		for over := time.Now().Add(patience); len(Emulators(d.Dir)) > 0 && time.Now().Before(over); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	_ = os.RemoveAll(d.Dir)
}

// processes finds those of this machine whose command line has all the words.
func processes(words ...string) []int {
	var out []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
next:
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for _, w := range words {
			if !strings.Contains(string(line), w) {
				continue next
			}
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && pid != os.Getpid() {
			out = append(out, pid)
		}
	}
	return out
}

// Emulators are the processes of machines of which a word is on the command
// line, such as a node's name or folder.
func Emulators(word string) []int { return processes(guest.QEMU, word) }

// Provider makes one that works with the daemon, with folders of its own.
func (d *Daemon) Provider() *libvirt.Provider {
	d.t.Helper()
	dir, err := os.MkdirTemp(d.Dir, "home")
	if err != nil {
		d.t.Fatal(err)
	}
	return d.ProviderIn(dir)
}

// ProviderIn makes one with its folders in dir.
func (d *Daemon) ProviderIn(dir string) *libvirt.Provider {
	d.t.Helper()
	p, err := libvirt.New(libvirt.Config{Socket: d.Socket, Run: filepath.Join(dir, "run"), Labs: filepath.Join(dir, "labs"), Images: filepath.Join(dir, "images")})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = p.Close() })
	return p
}
