package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/guest"
)

const (
	machinesAtOnce = 10
	benchNICs      = 2
)

// BenchmarkMachines deploys small virtual machines until all are ready, and
// lets a loop of a shell start the same emulators, until all have said that
// they are up.
func BenchmarkMachines(b *testing.B) {
	d := libvirttest.Start(b)
	sys := libvirttest.Build(b, d.Dir, "", nil)
	home := filepath.Join(d.Dir, "world")
	write := func(path, text string) string {
		b.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	write(filepath.Join(home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\n", d.Socket))
	write(filepath.Join(home, "config", "vendors", "small.yaml"), sys.YAML("small", fmt.Sprintf("nics: %d\n", benchNICs)))
	var used time.Duration
	command := func(words ...string) *exec.Cmd {
		cmd := exec.Command(program, words...)
		cmd.Env = append(os.Environ(), "ARCHETYPE_HOME="+home)
		return cmd
	}
	run := func(words ...string) {
		b.Helper()
		cmd := command(words...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v: %s", words, err, out)
		}
		used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	nodes := ""
	for i := range machinesAtOnce {
		nodes += fmt.Sprintf("    vm%d: {kind: small}\n", i)
	}
	b.Cleanup(func() { // there is nothing any more where all went well
		_ = command("destroy", "benchvms", "--yes").Run()
		_ = command("engine", "stop").Run()
	})
	run("deploy", write(filepath.Join(d.Dir, "first.clab.yml"), "name: benchvms\ntopology:\n  nodes:\n    vm0: {kind: small}\n"), "--network", "veth") // what is tried once has been
	file := write(filepath.Join(d.Dir, "all.clab.yml"), "name: benchvms\ntopology:\n  nodes:\n"+nodes)
	run("destroy", "benchvms", "--yes")
	// The better of two turns each: what else the machine does comes and goes.
	ours, loop, theirs := time.Hour, time.Hour, time.Duration(0)
	for range 2 {
		used = -engineTime(b, home)
		begin := time.Now()
		run("deploy", file, "--network", "veth")
		ours = min(ours, time.Since(begin))
		used += engineTime(b, home)
		emulators := libvirttest.Emulators("benchvms")
		if len(emulators) != machinesAtOnce {
			b.Fatalf("there are %d machines", len(emulators))
		}
		theirs = 0
		for _, pid := range emulators {
			theirs += processTime(b, pid)
		}
		words := shellWords(b, emulators[0], sys)
		run("destroy", "benchvms", "--yes")
		loop = min(loop, shellLoop(b, d.Dir, words))
	}
	b.ReportMetric(ours.Seconds(), "ours-s")
	b.ReportMetric(loop.Seconds(), "loop-s")
	b.ReportMetric(used.Seconds(), "cpu-s")
	b.ReportMetric(theirs.Seconds(), "machines-cpu-s")
	b.ReportMetric(0, "ns/op")
}

// shellWords is the command that starts an emulator as one that runs.
func shellWords(b *testing.B, pid int, sys libvirttest.System) string {
	b.Helper()
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		b.Fatal(err)
	}
	all := strings.Split(string(line), "\x00")
	of := func(option string) string {
		for i, w := range all {
			if w == option && i+1 < len(all) {
				return all[i+1]
			}
		}
		b.Fatalf("%s is not in %q", option, all)
		return ""
	}
	machine, _, _ := strings.Cut(of("-machine"), ",")
	words := []string{guest.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", machine + ",usb=off", "-accel", of("-accel"), "-cpu", of("-cpu"),
		"-m", "128", "-smp", "1", "-kernel", sys.Kernel, "-initrd", sys.Initrd, "-append", "'" + of("-append") + "'", "-serial", "file:$i.log"}
	for n := range benchNICs {
		words = append(words, "-netdev", fmt.Sprintf("tap,id=n%d,ifname=bv$i.%d,script=no,downscript=no", n, n), "-device", fmt.Sprintf("virtio-net-pci,netdev=n%d", n))
	}
	return strings.Join(words, " ")
}

// shellLoop starts the emulators, waits until all have said that they are up,
// and ends them.
func shellLoop(b *testing.B, dir, words string) time.Duration {
	b.Helper()
	dir = filepath.Join(dir, "loop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	taps := func(verb string) string {
		text := ""
		for n := range benchNICs {
			text += fmt.Sprintf("ip tuntap %s mode tap bv$i.%d; ", verb, n)
		}
		return text
	}
	each := fmt.Sprintf("for i in $(seq %d); do ", machinesAtOnce)
	cmd := exec.Command("sh", "-c", each+taps("add")+words+" & done; wait")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = exec.Command("sh", "-c", each+taps("del")+"done").Run()
	}()
	for i, over := 1, begin.Add(5*time.Minute); i <= machinesAtOnce; time.Sleep(10 * time.Millisecond) {
		log, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)))
		if strings.Contains(string(log), "guest: up") {
			i++
		} else if time.Now().After(over) {
			b.Fatalf("the loop's machine %d is not up; it said %q", i, log)
		}
	}
	return time.Since(begin)
}

// engineTime is the processor time of what runs in a home.
func engineTime(b *testing.B, home string) (sum time.Duration) {
	b.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !strings.Contains("\x00"+string(env), "\x00ARCHETYPE_HOME="+home+"\x00") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			sum += processTime(b, pid)
		}
	}
	return sum
}

// processTime is a process's processor time, in steps of 10 ms.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it has ended
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
