package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFaultsOfTheMachine takes away, one after the other, what a lab stands
// on: room on the disk, open files, rights, and the whole machine by a reboot.
// Each time the person is told in words, nothing that was saved is lost, and
// the program comes back by itself.
func TestFaultsOfTheMachine(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		p := thePairs()[1]
		p.here(t)
		t.Run("disk full", func(t *testing.T) { p.in(t).diskFull() })
		t.Run("open files", func(t *testing.T) { p.in(t).openFiles() })
		t.Run("rights", func(t *testing.T) { p.in(t).rights() })
		t.Run("reboot", func(t *testing.T) { p.in(t).reboot() })
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Parallel()
	alone(t)
}

// in has the pair fail a subtest.
func (p *pair) in(t *testing.T) *pair {
	p.w.T = t
	return p
}

// standing deploys the lab and returns its portrait.
func (p *pair) standing(nodes int) (file string, portrait []string) {
	p.w.Helper()
	file = p.w.file("f.clab.yml", p.lab(faultLab, nodes))
	p.w.ok("deploy", file, "--network", p.network, "--provider", p.provider)
	p.whole()
	return file, p.steady()
}

// steady is the portrait once it stays the same.
func (p *pair) steady() []string {
	p.w.Helper()
	last := p.portrait()
	p.w.await("the world to settle", func() bool {
		now := p.portrait()
		same := slices.Equal(now, last)
		last = now
		return same
	})
	return last
}

// whole wants all of the lab to run, and the machine to say so too.
func (p *pair) whole() {
	p.w.Helper()
	p.w.await(faultLab+" to be whole", func() bool {
		l := &inspectJSON{}
		r := p.w.run("inspect", faultLab, "--json")
		if r.code != 0 {
			return false
		}
		p.w.decode(r.out, l)
		return l.rests() && l.Lab.State == "running" && !p.w.works(faultLab) &&
			!slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.Actual != "up" || k.Carrier != "on" })
	})
	p.mustAgree(p.w.T, faultLab)
}

// same wants the world to become as it was.
func (p *pair) same(was []string) {
	p.w.Helper()
	var now []string
	if !became(func() bool {
		now = p.portrait()
		return slices.Equal(now, was)
	}) {
		p.w.Errorf("more and less than before:\n%s", difference(now, was))
	}
}

func (p *pair) gone() {
	p.w.Helper()
	p.w.ok("destroy", faultLab, "--yes")
	p.w.await("no process to be left", func() bool { return len(p.w.processes()) == 0 })
}

// told wants a run to fail with words that name the trouble and a way out.
func (w *world) told(r result, words ...string) {
	w.Helper()
	if r.code == 0 {
		w.Errorf("it should have failed: %s", r)
	}
	w.says(r.out+r.err, words...)
}

func (w *world) says(text string, words ...string) {
	w.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			w.Errorf("%q is not in what it says:\n%s", word, text)
		}
	}
	if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		w.Errorf("it has crashed:\n%s", text)
	}
}

// diskFull: the folder for state is on a disk that fills up.
func (p *pair) diskFull() {
	w := p.w
	must(w.T, os.MkdirAll(w.state(), 0o700), unix.Mount("tmpfs", w.state(), "tmpfs", 0, "size=4m"))
	defer func() {
		w.await("the disk to be let go", func() bool { return unix.Unmount(w.state(), 0) == nil })
	}()
	_, was := p.standing(3)
	fill := filepath.Join(w.state(), "fill")
	full := func() {
		f, err := os.Create(fill)
		must(w.T, err)
		block := make([]byte, 4096)
		for err == nil {
			_, err = f.Write(block)
		}
		must(w.T, f.Close())
	}
	full()
	r := w.run("stop", faultLab, "n1")
	for i := 0; r.code == 0 && i < 100; i++ { // the file may have pages of its own that are free
		r = w.run([]string{"start", "stop"}[i%2], faultLab, "n1")
	}
	w.told(r, "no space left", "make room")
	w.says(w.ok("inspect", faultLab), "n1") // it can still be looked at
	must(w.T, os.Remove(fill))
	w.ok("start", faultLab, "n1")
	p.whole()
	full()
	w.kill(w.engine()) // what was saved before is there, though nothing can be now
	p.whole()
	must(w.T, os.Remove(fill))
	w.ok("store", "check")
	p.same(was)
	p.gone()
}

// openFiles: engine and holder may not open another file.
func (p *pair) openFiles() {
	w := p.w
	p.standing(3)
	var before unix.Rlimit
	must(w.T, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	limit := func(pid int, n uint64) {
		must(w.T, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}, nil))
	}
	holder, engine := w.holder(), w.engine()
	limit(holder, uint64(len(names(fmt.Sprintf("/proc/%d/fd", holder)))))
	limit(engine, uint64(len(names(fmt.Sprintf("/proc/%d/fd", engine)))+12)) // enough to be asked
	bigger := w.file("f.clab.yml", p.lab(faultLab, 6))
	b := w.begin("deploy", bigger)
	w.await("somebody to be told", func() bool {
		l := &inspectJSON{}
		r := w.run("inspect", faultLab, "--json")
		if r.code != 0 {
			return false
		}
		w.decode(r.out, l)
		return slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool {
			return strings.Contains(n.Error, "too many open files") && strings.Contains(n.Error, "ulimit -n")
		})
	})
	limit(holder, before.Max)
	limit(engine, before.Max)
	_ = b.wait() // it may have been told of the fault, or have outlived it
	p.whole()
	w.ok("deploy", w.file("f.clab.yml", p.lab(faultLab, 3)))
	p.whole()
	p.gone()
}

// rights: the state's folder and file cannot be written, the socket not opened.
func (p *pair) rights() {
	w := p.w
	_, was := p.standing(3)
	// Root is above rights, but not above the file system's own.
	must(w.T, unix.Mount(w.state(), w.state(), "", unix.MS_BIND, ""), unix.Mount("", w.state(), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	w.kill(w.engine()) // the next one finds a folder that is not to be written
	w.told(w.run("inspect", faultLab), "read-only", w.state())
	if len(w.inits(faultLab)) != 3 {
		w.Error("the nodes have not gone on")
	}
	w.await("the folder to be let go", func() bool { return unix.Unmount(w.state(), unix.MNT_DETACH) == nil })
	p.whole()
	p.same(was)
	// Somebody without the right to it is told, and what to do.
	socket := filepath.Join(w.state(), "run", "engine.sock")
	must(w.T, os.Chmod(w.dir, 0o755), os.Chmod(w.home, 0o755), os.Chmod(w.state(), 0o755), os.Chmod(filepath.Dir(socket), 0o755))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := w.command(ctx, "inspect", faultLab)
	cmd.Env = append(cmd.Env, "ARCHETYPE_ROOTLESS=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err == nil {
		w.Errorf("somebody else sees the lab: %s", out)
	}
	w.says(string(out), "permi")
	must(w.T, os.Chmod(w.state(), 0o700), os.Chmod(filepath.Dir(socket), 0o700))
	p.gone()
}

// reboot: all processes and namespaces are gone at once, and what had their
// numbers is somebody else's. Files, sockets and locks are left over.
func (p *pair) reboot() {
	w := p.w
	_, was := p.standing(3)
	w.ok("stop", faultLab, "n2")
	w.ok("link", "disconnect", faultLab, "n0:eth1", "n1:eth2")
	var numbers []int
	for _, pr := range w.processes() {
		numbers = append(numbers, pr.pid)
	}
	for _, pid := range numbers {
		w.strike(pid)
	}
	w.await("all to end", func() bool { reapOrphans(); return len(w.processes()) == 0 })
	var others []*exec.Cmd
	for _, pid := range numbers {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			w.Fatal(err)
		}
		cmd := exec.Command("sleep", "1000")
		must(w.T, cmd.Start())
		others = append(others, cmd)
	}
	if !slices.ContainsFunc(others, func(c *exec.Cmd) bool { return slices.Contains(numbers, c.Process.Pid) }) {
		w.Log("no number could be taken again")
	}
	w.await("the lab to be as it was wished", func() bool {
		l := w.inspect(faultLab)
		n2 := l.node("n2") // of a node that is stopped nothing is made before it is started
		return n2.Desired == "stopped" && n2.Actual != "running" && l.node("n0").Actual == "running" &&
			l.node("n1").Actual == "running" && l.link("n0:eth1", "n1:eth2").Actual == "down"
	})
	w.ok("start", faultLab, "n2")
	w.ok("link", "connect", faultLab, "n0:eth1", "n1:eth2")
	p.whole()
	p.same(was)
	p.gone()
	for _, cmd := range others {
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			w.Errorf("process %d, which is somebody else's, was ended", cmd.Process.Pid)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// daemonsGo kills what a pair's provider and network stand on, in the middle
// of a deploy and later, and starts it again.
func (p *pair) daemonsGo() {
	w := p.w
	file := w.file("f.clab.yml", p.lab(faultLab, p.size))
	w.run("destroy", faultLab, "--yes")
	deploy := func(begun func() bool) *background {
		b := w.begin("deploy", file, "--network", p.network, "--provider", p.provider)
		w.await("a deploy that is under way", func() bool { return begun() || ended(b) })
		return b
	}
	start := func(what string, again func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := again(ctx); err != nil {
			w.Fatalf("%s: %v", what, err)
		}
	}
	if e := p.servers.docker; e != nil {
		b := deploy(func() bool {
			return slices.ContainsFunc(p.daemons(), func(s string) bool { return strings.HasPrefix(s, "container [") })
		})
		e.Kill()
		reapOrphans() // else Docker takes what is left of its containerd for one that runs
		w.told(w.run("exec", faultLab, "n0", "--", "true"), "ocker")
		start("Docker", e.Start)
		_ = b.wait() // it may have been told of the fault, or have outlived it
		p.whole()
		w.Log("Docker's daemon was killed in a deploy and started again")
	}
	if s := p.servers.ovs; s != nil {
		w.ok("deploy", file)
		s.Kill("ovs-vswitchd")
		s.StartSwitch()
		p.whole()
		w.Log("ovs-vswitchd was killed and started again")
		s.Kill("ovsdb-server")
		b := w.begin("link", "disconnect", faultLab, "n0:eth1", "n1:eth2")
		w.await("the link to say why", func() bool {
			return strings.Contains(w.inspect(faultLab).link("n0:eth1", "n1:eth2").Error, "ovsdb-server") || ended(b)
		})
		s.StartDatabase()
		_ = b.wait() // it may have been told of the fault, or have outlived it
		w.await("the cable to be out", func() bool { return w.inspect(faultLab).link("n0:eth1", "n1:eth2").Actual == "down" })
		w.ok("link", "connect", faultLab, "n0:eth1", "n1:eth2")
		p.whole()
		if !became(func() bool { return w.ping(faultLab, "n0", "10.1.0.2") }) {
			w.Error("no packet passes after the switch came back")
		}
	}
	if d := p.servers.libvirt; d != nil {
		b := deploy(func() bool { return len(d.Domains()) > 0 })
		d.Stop()
		w.says(w.run("inspect", faultLab).out, "n0")
		d.Run()
		_ = b.wait() // it may have been told of the fault, or have outlived it
		p.whole()
		d.Stop()
		r := w.begin("restart", faultLab, "n0")
		w.await("somebody to be told", func() bool {
			return strings.Contains(w.inspect(faultLab).node("n0").Error, "libvirt") || ended(r)
		})
		d.Run()
		_ = r.wait()
		p.whole()
	}
}

// tells waits until a run has written some words.
func (b *background) tells(words string) {
	b.w.Helper()
	b.w.await(fmt.Sprintf("%q of %v", words, b.args), func() bool { return strings.Contains(b.out.String(), words) })
}

// wait is until a run has ended.
func (b *background) wait() error { return <-b.end }

// ended reports whether a run has ended; its end can still be received.
func ended(b *background) bool {
	select {
	case err := <-b.end:
		b.end <- err
		return true
	default:
		return false
	}
}
