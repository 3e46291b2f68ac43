package netns_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
)

func TestRestartKeepsNamespaceAndLogsGoOn(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		at, err := b.Attachment(b.Context(), n, "eth1")
		if err != nil {
			b.Fatal(err)
		}
		logs, err := b.Logs(b.Context(), n, backends.LogOptions{Follow: true})
		if err != nil {
			b.Fatal(err)
		}
		defer logs.Close()
		events, err := b.Events(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		before := b.exec(n, "readlink", "/proc/self/ns/net")
		b.exec(n, "sh", "-c", "echo kept >/root/kept")
		if err := b.Stop(b.Context(), n, 5*time.Second); err != nil {
			b.Fatal(err)
		}
		if st := <-events; st.Running || st.ExitReason != "" || st.Ref != n {
			b.Errorf("after a stop: %+v", st)
		}
		if err := b.Stop(b.Context(), n, 5*time.Second); err != nil { // again is no error
			b.Fatal(err)
		}
		list, err := b.List(b.Context(), "t")
		if err != nil || len(list) != 1 || list[0].Running || list[0].Labels["x"] != "n1" {
			b.Errorf("%+v %v", list, err)
		}
		b.run("n1", nil)
		if st := <-events; !st.Running || st.Boot <= list[0].Boot {
			b.Errorf("after a start: %+v", st)
		}
		if after := b.exec(n, "readlink", "/proc/self/ns/net"); after != before {
			b.Errorf("namespace %s became %s", before, after)
		}
		if again, _ := b.Attachment(b.Context(), n, "eth1"); again != at {
			b.Errorf("attachment %v became %v", at, again)
		}
		if got := b.exec(n, "cat", "/root/kept"); got != "kept\n" {
			b.Errorf("home is lost: %q", got)
		}
		readies := 0
		for sc := bufio.NewScanner(logs); readies < 2 && sc.Scan(); {
			if strings.Contains(sc.Text(), "archetype-init: ready") {
				readies++
			}
		}
		if readies != 2 {
			b.Errorf("saw %d boots in the log", readies)
		}
	})
}

func TestKilledInitIsTold(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		events, err := b.Events(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		list, _ := b.List(b.Context(), "t")
		if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if st := <-events; st.Running || !strings.Contains(st.ExitReason, "SIGKILL") || st.Ref != n {
			b.Errorf("%+v", st)
		}
	})
}

// A node whose init a signal has stopped is found so, and goes on when mended.
func TestStoppedBySignal(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		look := func() backends.NodeStatus {
			list, err := b.List(b.Context(), "t")
			if err != nil || len(list) != 1 {
				b.Fatalf("%+v, %v", list, err)
			}
			return list[0]
		}
		was := look()
		if err := syscall.Kill(was.PID, syscall.SIGSTOP); err != nil {
			b.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); !look().Paused; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatal("nobody sees that it is stopped")
			}
		}
		if err := b.Mend(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		if out := b.exec(n, "echo", "here"); out != "here\n" {
			b.Errorf("it says %q", out)
		}
		if st := look(); st.Paused || st.PID != was.PID || st.Boot != was.Boot {
			b.Errorf("mended it is %+v and was %+v", st, was)
		}
	})
}

// Fifty nodes at once, and nothing of them left afterwards.
// leftInPanel makes an interface in the panel that nobody will remove.
func (b *bench) leftInPanel(name string) {
	b.Helper()
	ns, err := netns.GetFromPath(b.holder.Panel())
	if err != nil {
		b.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		b.Fatal(err)
	}
}

func TestManyNodesLeaveNothing(t *testing.T) {
	both(t, func(b *bench) {
		mounts := b.mounts()
		const many = 50
		errs := make(chan error, many)
		for i := range many {
			go func() {
				c := b.config("n"+strconv.Itoa(i), nil)
				errs <- errors.Join(b.Create(b.Context(), c), b.Start(b.Context(), c.Ref))
			}()
		}
		for range many {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		list, err := b.List(b.Context(), "t")
		if err != nil || len(list) != many {
			b.Fatalf("%d nodes, %v", len(list), err)
		}
		for _, n := range list {
			b.said(n.Ref, "archetype-init: ready")
		}
		b.leftInPanel(mark.Trial("veth0"))
		for _, n := range list {
			if err := b.Remove(b.Context(), n.Ref); err != nil {
				b.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		if err := b.holder.Wait(ctx); err != nil {
			b.Error("the holder does not end, which has nothing to hold any more: ", err)
		}
		for _, n := range list {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", n.PID)); err == nil {
				b.Errorf("process %d of %s is still there", n.PID, n.Ref)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(b.dir, "labs", "*")); len(left) > 0 {
			b.Errorf("left: %v", left)
		}
		if now := b.mounts(); now != mounts {
			b.Errorf("mounts before\n%s\nafter\n%s", mounts, now)
		}
	})
}

// mounts are those of the machine that a node could have left. Others come
// and go while other tests run.
func (b *bench) mounts() string {
	b.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		at := fields[1]
		if strings.Count(at, "/") == 1 || strings.HasPrefix(at, "/dev/") || strings.Contains(line, b.dir) {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// Whatever happens to the holder, no node outlives it.
func TestNodesEndWithTheHolder(t *testing.T) {
	both(t, func(b *bench) {
		b.run("n1", nil)
		list, _ := b.List(b.Context(), "t")
		pidfd, _, errno := syscall.Syscall(434 /* pidfd_open */, uintptr(list[0].PID), 0, 0)
		if errno != 0 {
			b.Skip("no pidfd_open: ", errno)
		}
		f := os.NewFile(pidfd, "node")
		defer f.Close()
		if err := syscall.Kill(b.holder.PID(), syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		waitEnd(b.T, f)
	})
}

// A node that has nothing to do is no more than a waiting process, without a
// log's file; it becomes the init when it is used. Its log says each line once,
// whoever reads it and since when.
func TestIdleNodeEndsWhenAskedAndWakesWhenUsed(t *testing.T) {
	both(t, func(b *bench) {
		n := b.run("n1", nil)
		if err := b.Stop(b.Context(), n, time.Hour); err != nil { // nothing is to be waited for
			b.Fatal(err)
		}
		if err := b.Start(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		b.said(n, "archetype-init: ready")
		log := func(opt backends.LogOptions, until string) (out string) {
			r, err := b.Logs(b.Context(), n, opt)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			for sc := bufio.NewScanner(r); sc.Scan() && !strings.Contains(sc.Text(), until); {
				out += strings.TrimPrefix(sc.Text(), "archetype-init: ") + "\n"
			}
			return out
		}
		const boot = "namespaces ready\ninterfaces 0/0\nready\n"
		for _, c := range []struct {
			opt  backends.LogOptions
			want string
		}{{backends.LogOptions{}, boot + boot}, {backends.LogOptions{Boot: true}, boot}, {backends.LogOptions{Lines: 4}, "ready\n" + boot}} {
			if got := log(c.opt, "nothing"); got != c.want {
				b.Errorf("%+v: log of a node that nobody has used: %q", c.opt, got)
			}
		}
		if err := b.Remove(b.Context(), b.run("n2", nil)); err != nil { // the first has a place for its log all the same
			b.Fatal(err)
		}
		followed := make(chan string)
		go func() { followed <- log(backends.LogOptions{Follow: true}, "stopping") }()
		pid := func() int { st, _ := b.List(b.Context(), "t"); return st[0].PID }
		before := pid()
		res, err := b.Exec(b.Context(), n, backends.ExecRequest{Command: []string{"sh", "-c",
			"kill -0 1 && hostname && trap 'exit 7' TERM && kill -TERM $$"}})
		if err != nil || res.Code != 7 || string(res.Stdout) != "n1\n" {
			b.Errorf("%+v, %v: %s", res, err, res.Stderr)
		}
		if pid() != before {
			b.Error("the node's first process is another one")
		}
		if err := b.Stop(b.Context(), n, time.Hour); err != nil {
			b.Fatal(err)
		}
		if got := <-followed; got != boot+boot {
			b.Errorf("followed from before it was used: %q", got)
		}
		if got := log(backends.LogOptions{}, "stopping"); got != boot+boot {
			b.Errorf("log of a node that was used: %q", got)
		}
	})
}
