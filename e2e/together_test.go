package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTwoProgramsAtOnce: the second attaches to what the first has started.
func TestTwoProgramsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.ok("deploy", w.file("ring.clab.yml", ring("ring", 3)))
	engine, holder := w.engine(), w.holder()
	logs := w.begin("logs", "ring", "n0", "-f") // one that stays
	before := w.inspect("ring")
	w.ok("restart", "ring", "n1")
	after := w.inspect("ring")
	if after.node("n0") != before.node("n0") || after.node("n1").PID == before.node("n1").PID {
		t.Errorf("nodes were %+v and are %+v", before.Nodes, after.Nodes)
	}
	if w.engine() != engine || w.holder() != holder {
		t.Error("a second engine or holder was started")
	}
	// What is in flight when the engine is killed says so, or goes on.
	command := w.begin("exec", "ring", "n0", "--", "sleep", "4321")
	w.await("the command to run", func() bool {
		return len(w.find("", func(p process) bool { return p.command == "sleep 4321" })) == 1
	})
	w.kill(engine)
	for _, b := range []*background{logs, command} {
		if err := <-b.end; err == nil || !strings.Contains(b.out.String(), "the engine has ended") {
			t.Errorf("%v, whose engine was killed: %v\n%s", b.args, err, b.out)
		}
	}
	w.consistent("ring")
}

func TestTwoLabsAreDeployedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	var all []*background
	for _, name := range []string{"one", "two", "three"} {
		all = append(all, w.begin("deploy", w.file(name+".clab.yml", ring(name, 4))))
	}
	for _, b := range all {
		if err := <-b.end; err != nil {
			t.Errorf("%v: %v\n%s", b.args, err, b.out)
		}
	}
	for _, name := range []string{"one", "two", "three"} {
		if l := w.inspect(name); !l.whole() || len(w.inits(name)) != 4 {
			t.Errorf("%+v, inits %v", l, w.inits(name))
		}
	}
	w.holder() // fails the test if there are two
	w.engine()
	w.ok("destroy", "two", "--yes")
	if !w.inspect("one").whole() || !w.ping("one", "n0", "10.1.0.2") {
		t.Error("the end of one lab has touched another")
	}
}

// TestOneLabIsDeployedTwiceAtOnce: both succeed and there is one lab.
func TestOneLabIsDeployedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asRoot)
	file := w.file("ring.clab.yml", ring("ring", 8))
	a, b := w.begin("deploy", file), w.begin("deploy", file)
	for _, x := range []*background{a, b} {
		if err := <-x.end; err != nil {
			t.Errorf("%v\n%s", err, x.out)
		}
	}
	w.consistent("ring")
}

func TestSameNameFromAnotherFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	first := w.file("first.clab.yml", ring("ring", 2))
	w.ok("deploy", first)
	before := w.inspect("ring")
	r := w.code(1, "deploy", w.file("second.clab.yml", ring("ring", 3)))
	if !strings.Contains(r.err, "ring is already deployed from "+first) {
		t.Errorf("it says %q", r.err)
	}
	if after := w.inspect("ring"); !slices.Equal(after.Nodes, before.Nodes) {
		t.Errorf("nodes were %+v and are %+v", before.Nodes, after.Nodes)
	}
}

// TestDestroyDuringADeploy: the later wish wins.
func TestDestroyDuringADeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	file := w.file("ring.clab.yml", ring("ring", 20))
	deploy := w.begin("deploy", file)
	w.await("the deploy to be half-way", func() bool { return len(w.inits("ring")) > 5 })
	w.ok("destroy", "ring", "--yes")
	if err := <-deploy.end; err == nil && !strings.Contains(deploy.out.String(), "completed") {
		t.Errorf("a deploy whose lab was destroyed says it is done:\n%s", deploy.out)
	}
	if left := w.inits("ring"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	w.ok("deploy", file)
	w.consistent("ring")
}

const before = `
name: change
topology:
  defaults: {kind: linux}
  nodes:
    a: {}
    b: {env: {COLOUR: red}}
    c: {}
    d: {}
  links:
    - {type: veth, endpoints: [{node: a, interface: eth1, ipv4: 10.9.1.1/24}, {node: b, interface: eth1, ipv4: 10.9.1.2/24}]}
    - {endpoints: ["b:eth2", "c:eth1"]}
    - {type: veth, mtu: 1400, endpoints: [{node: a, interface: eth2}, {node: d, interface: eth1}]}
`

const after = `
name: change
topology:
  defaults: {kind: linux}
  nodes:
    a: {}
    b: {env: {COLOUR: blue}}
    d: {}
    e: {}
  links:
    - {type: veth, endpoints: [{node: a, interface: eth1, ipv4: 10.9.1.1/24}, {node: b, interface: eth1, ipv4: 10.9.1.2/24}]}
    - {type: veth, endpoints: [{node: b, interface: eth2, ipv4: 10.9.2.1/24}, {node: e, interface: eth1, ipv4: 10.9.2.2/24}]}
    - {type: veth, mtu: 1300, endpoints: [{node: a, interface: eth2}, {node: d, interface: eth1}]}
`

// TestChangedFile applies only the difference, and says it before and after.
func TestChangedFile(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asUser)
			file := w.file("change.clab.yml", before)
			w.ok("deploy", file, "--network", network)
			was := w.inspect("change")
			if out := w.ok("deploy", file); !strings.Contains(out, "change: nothing changed") {
				t.Errorf("a second deploy says:\n%s", out)
			}
			w.file("change.clab.yml", after)
			out := w.ok("deploy", file)
			for _, want := range []string{"change: 2 nodes and 1 link stay as they are", "+ node e", "~ node b (env)", "- node c",
				"+ link b:eth2 -- e:eth1", "~ link a:eth2 -- d:eth1 (mtu)", "- link b:eth2 -- c:eth1"} {
				if n := strings.Count(out, want); n != 2 && want[0] != 'c' || n == 0 {
					t.Errorf("%q is said %d times, not before and after:\n%s", want, n, out)
				}
			}
			is := w.inspect("change")
			for _, n := range was.Nodes {
				now := is.node(n.Name)
				switch n.Name {
				case "a", "d":
					if now.PID != n.PID {
						t.Errorf("%s, which did not change, was restarted", n.Name)
					}
				case "b":
					if now.PID == n.PID {
						t.Error("b, which changed, was not restarted")
					}
				case "c":
					if now.Name != "" {
						t.Errorf("c, which is not in the file any more, is %+v", now)
					}
				}
			}
			if !is.whole() || len(is.Nodes) != 4 || len(is.Links) != 3 {
				t.Errorf("after the change: %+v", is)
			}
			if got := w.sh("change", "b", "echo $COLOUR"); got != "blue" {
				t.Errorf("b's environment says %q", got)
			}
			if got := w.sh("change", "d", "ip link show eth1"); !strings.Contains(got, "mtu 1300 ") {
				t.Errorf("d:eth1 is %s", got)
			}
			for from, to := range map[string]string{"a": "10.9.1.2", "b": "10.9.2.2"} {
				if !w.ping("change", from, to) {
					t.Errorf("%s does not reach %s", from, to)
				}
			}
			if left := w.inits("change")["c"]; len(left) > 0 {
				t.Errorf("c's init is left: %v", left)
			}
		})
	}
}

// TestPlanIsPartOfTheStream for scripts.
func TestPlanIsPartOfTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	file := w.file("change.clab.yml", before)
	w.ok("deploy", file)
	w.file("change.clab.yml", after)
	var plan struct {
		Nodes   []string `json:"nodes_added"`
		Removed []string `json:"nodes_removed"`
		Changed []struct {
			Name   string
			Fields []string
		} `json:"nodes_changed"`
	}
	w.decode(string(stream(w, w.ok("deploy", file, "--json"))[0]["plan"]), &plan)
	if got := fmt.Sprint(plan.Nodes, plan.Removed, plan.Changed); got != "[e] [c] [{b [env]}]" {
		t.Errorf("plan: %s", got)
	}
}
