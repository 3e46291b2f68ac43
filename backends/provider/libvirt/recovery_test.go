package libvirt_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/lab"
)

// virsh does something behind the provider's back.
func (b *bench) virsh(words ...string) {
	b.Helper()
	out, err := exec.Command("virsh", append([]string{"-q", "-c", "qemu:///system?socket=" + b.d.Socket}, words...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("virsh %s: %v: %s", strings.Join(words, " "), err, out)
	}
}

// status is what the provider lists of a node.
func (b *bench) status(ref backends.NodeRef) backends.NodeStatus {
	b.Helper()
	list, err := b.List(b.Context(), ref.Lab)
	b.must(err)
	i := slices.IndexFunc(list, func(st backends.NodeStatus) bool { return st.Ref == ref })
	if i < 0 {
		b.Fatalf("%s is not in %+v", ref, list)
	}
	return list[i]
}

// kill ends a node's emulator as if its process had failed.
func (b *bench) kill(name string) {
	b.Helper()
	pids := libvirttest.Emulators(name)
	if len(pids) != 1 {
		b.Fatalf("emulators of %s: %v", name, pids)
	}
	b.must(syscall.Kill(pids[0], syscall.SIGKILL))
}

// heard waits for an event of a node that is as wanted.
func (b *bench) heard(events <-chan backends.NodeStatus, what string, ok func(backends.NodeStatus) bool) {
	b.Helper()
	timeout := time.After(patience)
	var all []backends.NodeStatus
	for {
		select {
		case st, open := <-events:
			if !open {
				b.Fatalf("%s: the events ended after %+v", what, all)
			}
			if ok(st) {
				return
			}
			all = append(all, st)
		case <-timeout:
			b.Fatalf("%s: never heard, but %+v", what, all)
		}
	}
}

func ended(reason string) func(backends.NodeStatus) bool {
	return func(st backends.NodeStatus) bool { return !st.Running && !st.Gone && st.ExitReason == reason }
}

// TestBehindOurBack: whatever is done to a machine by others is heard of at
// once with its reason, and the next call puts it right.
func TestBehindOurBack(t *testing.T) {
	b := newBench(t)
	kind := libvirttest.Build(t, b.d.Dir, "echo guest: begins", nil).Kind(t, "small", "disks: [{size_mb: 1}]")
	ref := b.node(kind, "a", lab.End{Endpoint: lab.Endpoint{Node: "a", Interface: "eth1"}})
	name := b.status(ref).Identifier
	events, err := b.Events(t.Context())
	b.must(err)
	b.up(ref)
	b.heard(events, "started", func(st backends.NodeStatus) bool { return st.Running })
	boot, address := b.status(ref).Boot, b.exec(ref, "cat", "/sys/class/net/eth0/address")
	b.exec(ref, "sh", "-c", "echo kept | dd of=/dev/vda conv=fsync 2>/dev/null")

	b.virsh("suspend", name)
	b.heard(events, "virsh suspend", func(st backends.NodeStatus) bool { return st.Running && st.Paused })
	b.must(b.Mend(t.Context(), ref))
	b.heard(events, "it goes on", func(st backends.NodeStatus) bool { return st.Running && !st.Paused })
	if got := b.exec(ref, "echo", "on"); got != "on\n" {
		t.Errorf("going on it says %q", got)
	}

	b.kill(name)
	b.heard(events, "its emulator was killed", ended("its emulator ended"))
	b.virsh("domrename", name, "renamed")
	b.heard(events, "virsh domrename", func(st backends.NodeStatus) bool { return st.Renamed && st.Identifier == "renamed" })
	b.must(b.Mend(t.Context(), ref))
	if st := b.status(ref); st.Renamed || st.Identifier != name {
		t.Errorf("mended it is %+v", st)
	}
	b.up(ref)
	if st := b.status(ref); st.Boot <= boot {
		t.Errorf("boot %d after %d", st.Boot, boot)
	}
	if got := b.exec(ref, "cat", "/sys/class/net/eth0/address"); got != address {
		t.Errorf("its address was %q and is %q", address, got)
	}

	b.virsh("destroy", name)
	b.heard(events, "virsh destroy", ended("it was switched off from outside"))
	b.up(ref)

	b.virsh("undefine", name)
	b.virsh("destroy", name)
	b.heard(events, "virsh undefine", func(st backends.NodeStatus) bool { return st.Gone && st.Ref == ref })
	b.node(kind, "a", lab.End{Endpoint: lab.Endpoint{Node: "a", Interface: "eth1"}})
	b.up(ref)
	if got := b.exec(ref, "head", "-n1", "/dev/vda"); got != "kept\n" {
		t.Errorf("its disk says %q", got)
	}
}

// TestDaemonRestarts: libvirtd ends and comes back while a machine boots, and
// again when nobody looks.
func TestDaemonRestarts(t *testing.T) {
	b := newBench(t)
	kind := libvirttest.Build(t, b.d.Dir, "echo guest: begins", nil).Kind(t, "small", "")
	ref := b.node(kind, "a")
	name := b.status(ref).Identifier
	events, err := b.Events(t.Context())
	b.must(err)
	b.must(b.Start(t.Context(), ref))
	boot := b.status(ref).Boot
	b.d.Stop()
	for timeout := time.After(patience); events != nil; {
		select {
		case _, open := <-events:
			if !open {
				events = nil
			}
		case <-timeout:
			t.Fatal("the events go on without libvirtd")
		}
	}
	if list, err := b.List(t.Context(), ""); err == nil {
		t.Errorf("without libvirtd there is a list: %+v", list)
	}
	b.says(ref, "guest: up") // the machine and its record go on by themselves
	b.d.Run()
	if st := b.status(ref); !st.Running || st.Boot != boot {
		t.Errorf("after libvirtd came back: %+v; the boot was %d", st, boot)
	}
	if got := b.exec(ref, "echo", "here"); got != "here\n" {
		t.Errorf("said %q", got)
	}
	events, err = b.Events(t.Context())
	b.must(err)
	b.kill(name)
	b.heard(events, "its emulator was killed", ended("its emulator ended"))

	b.up(ref)
	b.d.Stop()
	b.kill(name)
	b.d.Run()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for b.status(ref).Running && ctx.Err() == nil { // libvirtd may still be looking at what it finds
		time.Sleep(20 * time.Millisecond)
	}
	if st := b.status(ref); st.Running {
		t.Errorf("its emulator was killed while libvirtd was away: %+v", st)
	}
	b.up(ref)
}
