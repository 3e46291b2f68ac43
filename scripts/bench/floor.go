package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/stub"
)

// floor is what the kernel itself takes for a ring, in the fewest commands.
type floor struct{ make, remove time.Duration }

// kernelFloor makes the same namespaces, pairs and, for linuxbridge, bridges
// through `ip -batch`, and removes them by removing the namespaces. It happens
// in namespaces of its own: whatever interrupts it, nothing stays.
func (b *bench) kernelFloor(network string) (floor, error) {
	var make, remove bytes.Buffer
	for i := range b.nodes {
		fmt.Fprintf(&make, "netns add n%d\n", i)
		fmt.Fprintf(&remove, "netns del n%d\n", i)
	}
	for i := range b.nodes {
		next := (i + 1) % b.nodes
		if network == "veth" {
			fmt.Fprintf(&make, "link add eth1 up netns n%d type veth peer name eth2 netns n%d\n", i, next)
			continue
		}
		fmt.Fprintf(&make, "link add b%d up group 7 type bridge\n", i)
		fmt.Fprintf(&make, "link add x%d up group 7 master b%d type veth peer name eth1 netns n%d\n", i, i, i)
		fmt.Fprintf(&make, "link add y%d up group 7 master b%d type veth peer name eth2 netns n%d\n", i, i, next)
	}
	if network != "veth" {
		remove.Reset()
		fmt.Fprintln(&remove, "link del group 7") // one message, one wait of the kernel's
		for i := range b.nodes {
			fmt.Fprintf(&remove, "netns del n%d\n", i)
		}
	}
	var out floor
	dir, err := os.MkdirTemp(b.dir, "floor-")
	if err != nil {
		return out, err
	}
	for name, text := range map[string]*bytes.Buffer{"make": &make, "remove": &remove} {
		if err := os.WriteFile(dir+"/"+name, text.Bytes(), 0o600); err != nil {
			return out, err
		}
	}
	script := `set -e; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns
t() { date +%s%N; }; a=$(t); ip -batch make; b=$(t); ip -batch remove; c=$(t); echo $((b-a)) $((c-b))`
	cmd := exec.CommandContext(b.ctx, "unshare", "-n", "-m", "sh", "-c", script)
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("ip -batch: %w: %s", err, stderr(err))
	}
	if _, err := fmt.Sscan(string(text), &out.make, &out.remove); err != nil {
		return out, err
	}
	rest, err := b.settled()
	out.remove += rest
	return out, err
}

// settled waits until the kernel has done away with every namespace that has
// ended, which it does later and one after the other: whoever removes them
// returns at once. One more, of which the end can be seen, comes last.
func (b *bench) settled() (time.Duration, error) {
	const script = `set -e; mount -t tmpfs tmpfs /run/netns; mount -t sysfs sysfs /sys; ip netns add last
ip link add last type veth peer name far netns last; ip netns del last; while [ -e /sys/class/net/last ]; do :; done`
	cmd := exec.CommandContext(b.ctx, "unshare", "-n", "-m", "sh", "-c", "mkdir -p /run/netns; "+script)
	return timed(cmd)
}

func stderr(err error) []byte {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it as it is
		return bytes.TrimSpace(e.Stderr)
	}
	return nil
}

// processStart is what it takes to start and to end processes.
type processStart struct{ start, end time.Duration }

func (p processStart) plus(q processStart) processStart {
	return processStart{p.start + q.start, p.end + q.end}
}

// atOnce is how many are started at a time, as the engine does.
const atOnce = 8

// starts measures one program started for each node, in process, mount, host
// name and IPC namespaces of its own.
func (b *bench) starts(program string, args ...string) (out processStart, failed error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*exec.Cmd
	gate := make(chan struct{}, atOnce)
	began := time.Now()
	for range b.nodes {
		wg.Add(1)
		gate <- struct{}{}
		go func() {
			defer func() { <-gate; wg.Done() }()
			cmd := exec.CommandContext(b.ctx, program, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
			err := cmd.Start()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			all = append(all, cmd)
		}()
	}
	wg.Wait()
	out.start = time.Since(began)
	began = time.Now()
	for _, cmd := range all {
		_ = cmd.Process.Kill()
	}
	for _, cmd := range all {
		_ = cmd.Wait()
	}
	out.end = time.Since(began)
	return out, failed
}

// page starts the least that can be a process: one page that waits.
func (b *bench) page() (processStart, error) {
	file, err := stub.File([]stub.Call{{Nr: unix.SYS_PPOLL, Args: []any{0, 0, 0, 0, 0}, Op: stub.Try}})
	if err != nil {
		return processStart{}, err
	}
	defer func() { _ = file.Close() }()
	return b.starts(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()))
}

// processes is the yardstick: an ordinary program in each node, as somebody
// would start it who makes a lab by hand, and the program itself for as often
// as it is started to serve a verb: as the verb, the holder and the engine.
func (b *bench) processes() (processStart, error) {
	if b.start.start > 0 {
		return b.start, nil
	}
	var err error
	if b.start, err = b.starts("sleep", "infinity"); err != nil {
		return b.start, err
	}
	own := processStart{start: time.Hour}
	for range rounds {
		took, err := b.timed("--version")
		if err != nil {
			return b.start, err
		}
		own.start = min(own.start, took)
	}
	b.row(fmt.Sprintf("%d x sleep in namespaces, started", b.nodes), "", ms(b.start.start), "", "")
	b.row(fmt.Sprintf("%d x sleep in namespaces, ended", b.nodes), "", ms(b.start.end), "", "")
	b.row("the program itself, started", "", ms(own.start), "", "")
	b.start = b.start.plus(processStart{start: 3 * own.start, end: own.start}) // destroy starts the verb alone
	return b.start, nil
}
