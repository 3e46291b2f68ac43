package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ring is a lab of nodes in a circle.
func ring(name string, nodes int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ntopology:\n  defaults: {kind: linux}\n  nodes:\n", name)
	for i := range nodes {
		fmt.Fprintf(&b, "    n%d: {}\n", i)
	}
	b.WriteString("  links:\n")
	for i := range nodes {
		fmt.Fprintf(&b, "    - {type: veth, endpoints: [{node: n%d, interface: eth1, ipv4: 10.1.%d.1/24}, {node: n%d, interface: eth2, ipv4: 10.1.%d.2/24}]}\n",
			i, i, (i+1)%nodes, i)
	}
	return b.String()
}

// background is a run of the program that goes on.
type background struct {
	w    *world
	pid  int
	end  chan error
	out  *lines
	args []string
}

// lines is what a program writes, and can be read meanwhile.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// goesOn bounds a run that goes on beside others.
const goesOn = 10 * patience

func (w *world) begin(args ...string) *background {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), goesOn)
	w.Cleanup(cancel)
	cmd := w.command(ctx, args...)
	b := &background{w: w, end: make(chan error, 1), out: &lines{}, args: args}
	cmd.Stdout, cmd.Stderr = b.out, b.out
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	b.pid = cmd.Process.Pid
	go func() { b.end <- cmd.Wait() }()
	return b
}

// consistent checks that a lab that is whole is so once and no more: one init
// for each node, each a child of the one holder, and one bridge for each link.
func (w *world) consistent(lab string) {
	w.Helper()
	// What was killed just now may still be told to run.
	var l *inspectJSON
	var inits map[string][]int
	became(func() bool {
		l, inits = w.awaitWhole(lab), w.inits(lab)
		return len(inits) == len(l.Nodes) && !slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool { return !slices.Equal(inits[n.Name], []int{n.PID}) })
	})
	holder := w.holder()
	if len(inits) != len(l.Nodes) {
		w.Errorf("%d nodes have an init, of %d", len(inits), len(l.Nodes))
	}
	for _, n := range l.Nodes {
		if !slices.Equal(inits[n.Name], []int{n.PID}) {
			w.Errorf("node %s: PID %d is told, inits are %v", n.Name, n.PID, inits[n.Name])
		} else if p, _ := readProcess(n.PID); p.parent != holder {
			w.Errorf("node %s: its init is a child of %d, the holder is %d", n.Name, p.parent, holder)
		}
	}
	for i, k := range l.Links {
		if i%7 != 0 {
			continue // a few stand for all
		}
		from, _, _ := strings.Cut(k.A, ":")
		if to := fmt.Sprintf("10.1.%d.2", i); !w.ping(lab, from, to) {
			w.Errorf("link %s -- %s: %s is not reached", k.A, k.B, to)
		}
	}
	if l.Lab.Network == "linuxbridge" {
		if n := w.bridges(holder); n != len(l.Links) {
			w.Errorf("%d bridges for %d links", n, len(l.Links))
		}
	}
}

// bridges counts the bridges in the holder's own namespaces.
func (w *world) bridges(holder int) int {
	w.Helper()
	seen, count := map[string]bool{}, 0
	for _, fd := range names(fmt.Sprintf("/proc/%d/fd", holder)) {
		path := fmt.Sprintf("/proc/%d/fd/%s", holder, fd)
		ns, _ := os.Readlink(path)
		if !strings.HasPrefix(ns, "net:[") || seen[ns] {
			continue
		}
		seen[ns] = true
		links, err := bridgesIn(path)
		if err != nil {
			w.Fatal(err)
		}
		count += links
	}
	return count
}

const ringSize = 30

// TestKilledInADeploy kills what works at a deploy at random moments, and
// starts it again where that takes a user.
func TestKilledInADeploy(t *testing.T) {
	for _, c := range []struct {
		name    string
		m       mode
		network string
		victim  func(w *world, deploy *background) int
	}{
		{"engine", asRoot, "linuxbridge", func(w *world, _ *background) int { return w.engine() }},
		{"engine, veth", asUser, "veth", func(w *world, _ *background) int { return w.engine() }},
		{"holder", asUser, "linuxbridge", func(w *world, _ *background) int { return w.holder() }},
		{"holder, veth", asRoot, "veth", func(w *world, _ *background) int { return w.holder() }},
		{"verb", asUser, "linuxbridge", func(_ *world, b *background) int { return b.pid }},
		{"init", asRoot, "linuxbridge", func(w *world, _ *background) int {
			for _, pids := range w.inits("ring") {
				return pids[0]
			}
			return 0
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.m)
			file := w.file("ring.clab.yml", ring("ring", ringSize))
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			for range 3 {
				deploy := w.begin("deploy", file, "--network", c.network)
				// The moment is told by how far the deploy has come.
				moment := random.IntN(ringSize)
				ended := false
				w.await("a moment in the deploy", func() bool {
					select {
					case err := <-deploy.end:
						deploy.end <- err
						ended = true
					default:
					}
					return ended || len(w.inits("ring")) > moment
				})
				if pid := c.victim(w, deploy); pid != 0 {
					w.strike(pid)
				}
				if err := <-deploy.end; err != nil && c.name != "verb" {
					t.Logf("deploy after the kill at %d: %v\n%s", moment, err, tailOf(deploy.out.String()))
				}
			}
			w.ok("deploy", file)
			w.consistent("ring")
		})
	}
}

func tailOf(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// TestStoreIsLost damages the store in every way while a lab runs: what runs
// tells what there is.
func TestStoreIsLost(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(file string) error
	}{
		{"removed", os.Remove},
		{"empty", func(file string) error { return os.Truncate(file, 0) }},
		{"cut short", func(file string) error {
			st, err := os.Stat(file)
			if err != nil {
				return err
			}
			return os.Truncate(file, st.Size()/2+100)
		}},
		{"bits turned", func(file string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for i := 3; i < len(data); i += 97 {
				data[i] ^= 0x55
			}
			return os.WriteFile(file, data, 0o600)
		}},
		{"bits turned beyond its head", func(file string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for i := 8192; i < len(data); i += 101 {
				data[i] ^= 0xff
			}
			return os.WriteFile(file, data, 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asUser)
			file := w.file("ring.clab.yml", ring("ring", 5))
			w.ok("deploy", file)
			w.ok("stop", "ring", "n4")
			w.ok("link", "disconnect", "ring", "n0:eth1", "n1:eth2")
			before := w.inspect("ring")
			w.kill(w.engine())
			if err := c.damage(filepath.Join(w.state(), "archetype.db")); err != nil {
				t.Fatal(err)
			}
			var after *inspectJSON
			w.await("the lab to be found again", func() bool {
				r := w.run("inspect", "ring", "--json")
				if r.code != 0 {
					t.Fatalf("the lab is not found: %s", r)
				}
				after = &inspectJSON{}
				w.decode(r.out, after)
				for i, n := range before.Nodes { // what runs is seen to be ready anew
					if i >= len(after.Nodes) || after.Nodes[i].Actual != n.Actual {
						return false
					}
				}
				return after.link("n1:eth1", "n2:eth2").Actual == "up"
			})
			if after.Lab.Name != before.Lab.Name || after.Lab.File != before.Lab.File || after.Lab.Network != before.Lab.Network {
				t.Errorf("lab was %+v and is %+v", before.Lab, after.Lab)
			}
			for i, n := range before.Nodes {
				now := after.Nodes[i]
				if now.Name != n.Name || now.PID != n.PID || now.Desired != n.Desired || now.Actual != n.Actual {
					t.Errorf("node was %+v and is %+v", n, now)
				}
			}
			if got := after.link("n0:eth1", "n1:eth2"); got.Actual != "down" || got.Desired != "down" {
				t.Errorf("a cable that was cut: %+v", got)
			}
			w.ok("deploy", file) // applies to it as to any lab
			w.consistent("ring")
			if got := w.inspect("ring"); got.node("n0").PID != before.node("n0").PID {
				t.Error("the deploy has restarted a node that was as it should be")
			}
		})
	}
}

// TestStoreIsRemovedUnderARunningEngine: it is written once more, with all that
// was asked for before and after.
func TestStoreIsRemovedUnderARunningEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.ok("deploy", w.file("ring.clab.yml", ring("ring", 4)))
	if err := os.Remove(filepath.Join(w.state(), "archetype.db")); err != nil {
		t.Fatal(err)
	}
	w.ok("restart", "ring", "n1")
	w.ok("network", "ring", "linuxbridge")
	before := w.inspect("ring")
	w.kill(w.engine())
	after := w.awaitWhole("ring")
	if after.Lab.Network != "linuxbridge" {
		t.Errorf("its links were moved to linuxbridge, and now the lab's network is %s", after.Lab.Network)
	}
	for i := range before.Nodes { // which line of the log said so is not kept
		before.Nodes[i].ProgressLine, after.Nodes[i].ProgressLine = "", ""
	}
	if !slices.Equal(after.Nodes, before.Nodes) {
		t.Errorf("nodes were\n%+v\nand are\n%+v", before.Nodes, after.Nodes)
	}
	if out := w.ok("jobs", "ring"); strings.Count(out, "completed") != 3 {
		t.Errorf("of a deploy, a restart and a move it knows\n%s", out)
	}
}

// TestNodeThatDies is started again and keeps its links; what it ran dies
// with it.
func TestNodeThatDies(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asUser)
			w.ok("deploy", w.file("ring.clab.yml", ring("ring", 3)), "--network", network)
			pid := w.inspect("ring").node("n1").PID
			w.sh("ring", "n1", "sleep 1234 &")
			w.kill(pid)
			w.await("n1 to be started again", func() bool {
				n := w.inspect("ring").node("n1")
				return n.Actual == "running" && n.PID != pid
			})
			if left := w.find("", func(p process) bool { return p.command == "sleep 1234" }); len(left) > 0 {
				t.Errorf("it has left %v", left)
			}
			w.consistent("ring")
		})
	}
}

// TestHolderIsKilledWhileALabRuns: everything dies with it, and the next use
// of the program makes the lab again.
func TestHolderIsKilledWhileALabRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asRoot)
	w.ok("deploy", w.file("ring.clab.yml", ring("ring", 5)))
	holder := w.holder()
	w.kill(holder)
	w.await("all of it to end", func() bool { return len(w.processes()) == 0 })
	w.consistent("ring")
	if w.holder() == holder {
		t.Error("the same holder " + strconv.Itoa(holder))
	}
}

// TestWhoWaitsForAJobThatIsLostIsTold: a job goes with the store that it is in.
// Whoever waits for it hears that from the engine that comes then, instead of
// waiting for ever.
func TestWhoWaitsForAJobThatIsLostIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("slow.yaml", standIn("slow-stand-in", "[]", ""))
	steps := w.script()
	deploy := w.begin("deploy", w.file("slow.clab.yml", fmt.Sprintf(slowLab, "slow-stand-in")))
	w.await("the device to boot", func() bool { return len(w.inits("slow")["box"]) == 1 })
	w.loseStore()
	w.strike(w.engine())
	if err := deploy.wait(); err == nil || !strings.Contains(deploy.out.String(), "is not known any more") {
		t.Errorf("the deploy ended with %v: %s", err, deploy.out.String())
	}
	steps.say("Router is up")
}
