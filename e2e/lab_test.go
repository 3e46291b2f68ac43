package e2e

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var networks = []string{"veth", "linuxbridge"}

// TestQuickstart is a lab's whole life, as every sort of user and over every
// network.
func TestQuickstart(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			everyMode(t, func(w *world) { quickstart(w, network) })
		})
	}
}

func quickstart(w *world, network string) {
	file := w.file("quickstart.clab.yml", example(w.T, "quickstart"))
	out := w.ok("deploy", file, "--network", network)
	for _, want := range []string{"quickstart: 6 nodes and 5 links to make", "pc1:eth1 -- sw1:eth2", "6 nodes running, 5 links up"} {
		if !strings.Contains(out, want) {
			w.Errorf("deploy does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		w.Errorf("escape sequences though nothing is a terminal: %q", out)
	}
	contract(w, file, network)
	for _, to := range []string{"pc2", "pc3", "10.0.2.1"} {
		if !w.ping("quickstart", "pc1", to) {
			w.Errorf("pc1 does not reach %s", to)
		}
	}
	cutAndJoin(w, network)
	restartOne(w)
	if out := w.ok("jobs", "quickstart"); !strings.Contains(out, "deploy") || !strings.Contains(out, ", restart, process ") || !strings.Contains(out, "completed") {
		w.Errorf("jobs says %q", out)
	}
	w.code(1, "jobs", "cancel", "j1")

	out = w.ok("destroy", file, "--yes")
	if !strings.Contains(out, "destroy of quickstart: completed") {
		w.Errorf("destroy says %q", out)
	}
	w.code(1, "inspect", "quickstart")
	if got := strings.TrimSpace(w.ok("inspect", "--json")); got != "[]" {
		w.Errorf("labs after destroy: %s", got)
	}
}

// contract checks the names and values that scripts rely on.
func contract(w *world, file, network string) {
	w.Helper()
	var raw struct {
		Lab          map[string]any
		Nodes, Links []map[string]any
	}
	text := w.ok("inspect", "quickstart", "--json")
	if strings.Count(text, "\n") != 1 {
		w.Errorf("not one line: %q", text)
	}
	w.decode(text, &raw)
	keys := func(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }
	if got := keys(raw.Lab); got != "file name network policy provider state" {
		w.Errorf("a lab has %s", got)
	}
	for _, n := range raw.Nodes {
		if got := keys(n); got != "actual desired error identifier kind name pid progress progress_line progress_text provider tries" {
			w.Errorf("a node has %s", got)
		}
	}
	for _, k := range raw.Links {
		if got := keys(k); got != "a actual b carrier desired error network tries vlan" {
			w.Errorf("a link has %s", got)
		}
	}
	l := w.inspect("quickstart")
	want := labJSON{Name: "quickstart", State: "running", File: file, Provider: "netns", Network: network}
	if l.Lab != want {
		w.Errorf("got lab %+v, want %+v", l.Lab, want)
	}
	if !l.whole() || len(l.Nodes) != 6 || len(l.Links) != 5 {
		w.Errorf("the lab is not whole: %+v", l)
	}
	pc1 := l.node("pc1")
	if inits := w.inits("quickstart"); !reflect.DeepEqual(inits["pc1"], []int{pc1.PID}) {
		w.Errorf("pc1 has PID %d, its inits are %v", pc1.PID, inits["pc1"])
	}
	pc1.PID = 0
	if want := (nodeJSON{Name: "pc1", Kind: "linux", Provider: "netns", Identifier: "quickstart/pc1", Desired: "running",
		Actual: "running", Progress: 100, ProgressText: "ready", ProgressLine: "archetype-init: ready"}); pc1 != want {
		w.Errorf("got node %+v, want %+v", pc1, want)
	}
	if got, want := l.link("pc1:eth1", "sw1:eth2"), (linkJSON{A: "pc1:eth1", B: "sw1:eth2", Desired: "up", Actual: "up", Carrier: "on", Network: network}); got != want {
		w.Errorf("got link %+v, want %+v", got, want)
	}
	var labs []labJSON
	w.decode(w.ok("inspect", "--json"), &labs)
	if len(labs) != 1 || labs[0] != want {
		w.Errorf("inspect --json: %+v", labs)
	}
	var all []map[string]any
	w.decode(w.ok("inspect", "--json"), &all)
	if len(all) != 1 || keys(all[0]) != "file name network policy provider state" {
		w.Errorf("inspect --json has %v", all)
	}
}

// carrier is what a node itself sees of an interface.
func carrier(w *world, node, iface string) string {
	w.Helper()
	out := w.sh("quickstart", node, "ip link show "+iface)
	switch {
	case strings.Contains(out, "NO-CARRIER"), strings.Contains(out, "state DOWN"):
		return "off" // a pair's ends are set down: it has no carrier of its own
	case strings.Contains(out, "LOWER_UP"):
		return "on"
	}
	return out
}

func cutAndJoin(w *world, network string) {
	w.Helper()
	w.ok("link", "disconnect", "quickstart", "sw2:eth2", "pc3:eth1") // the other way round than in the file
	want := linkJSON{A: "pc3:eth1", B: "sw2:eth2", Desired: "down", Actual: "down", Carrier: "off", Network: network}
	if got := w.inspect("quickstart").link("pc3:eth1", "sw2:eth2"); got != want {
		w.Errorf("cut: got %+v, want %+v", got, want)
	}
	if a, b := carrier(w, "pc3", "eth1"), carrier(w, "sw2", "eth2"); a != "off" || b != "off" {
		w.Errorf("cut: carrier is %s and %s", a, b)
	}
	if w.ping("quickstart", "pc1", "10.0.2.13") {
		w.Error("packets cross a cable that is cut")
	}
	if !w.ping("quickstart", "pc1", "10.0.2.1") {
		w.Error("cutting one cable has cut another")
	}
	w.ok("link", "disconnect", "quickstart", "pc3:eth1", "sw2:eth2") // once more is no error
	w.ok("link", "connect", "quickstart", "pc3:eth1", "sw2:eth2")
	want.Desired, want.Actual, want.Carrier = "up", "up", "on"
	if got := w.inspect("quickstart").link("pc3:eth1", "sw2:eth2"); got != want {
		w.Errorf("joined: got %+v, want %+v", got, want)
	}
	if a, b := carrier(w, "pc3", "eth1"), carrier(w, "sw2", "eth2"); a != "on" || b != "on" {
		w.Errorf("joined: carrier is %s and %s", a, b)
	}
	if !w.ping("quickstart", "pc1", "10.0.2.13") {
		w.Error("packets do not cross a cable that was joined again")
	}
}

func restartOne(w *world) {
	w.Helper()
	before := w.inspect("quickstart")
	w.sh("quickstart", "pc3", "sleep 1000 &")
	background := w.find("", func(p process) bool { return p.command == "sleep 1000" })
	if len(background) != 1 {
		w.Fatalf("background processes: %v", background)
	}
	// The link is there before the init looks, and stays where it was.
	index := w.sh("quickstart", "pc3", "cat /sys/class/net/eth1/ifindex 2>/dev/null; ip link show eth1")
	w.ok("restart", "quickstart", "pc3")
	after := w.inspect("quickstart")
	if !after.whole() {
		w.Errorf("after the restart: %+v", after)
	}
	for _, n := range before.Nodes {
		if same := after.node(n.Name).PID == n.PID; same == (n.Name == "pc3") {
			w.Errorf("restart of pc3: %s had PID %d and has %d", n.Name, n.PID, after.node(n.Name).PID)
		}
	}
	if w.has(background[0].pid) {
		w.Error("a process of the node has outlived its restart")
	}
	if now := w.sh("quickstart", "pc3", "cat /sys/class/net/eth1/ifindex 2>/dev/null; ip link show eth1"); now != index {
		w.Errorf("the interface was\n%s\nand is\n%s", index, now)
	}
	if !w.ping("quickstart", "pc1", "pc3") {
		w.Error("a restarted node has lost its link")
	}
	w.ok("stop", "quickstart", "pc3")
	if got := w.inspect("quickstart"); got.node("pc3").Actual != "stopped" || got.node("pc3").PID != 0 || got.Lab.State != "running" {
		w.Errorf("stopped: %+v, lab %s", got.node("pc3"), got.Lab.State)
	}
	w.code(1, "exec", "quickstart", "pc3", "--", "true")
	w.ok("start", "quickstart", "pc3")
	if !w.ping("quickstart", "pc1", "pc3") {
		w.Error("a node started again has lost its link")
	}
}

// stream decodes the objects of a --json stream.
func stream(w *world, text string) []map[string]json.RawMessage {
	w.Helper()
	var out []map[string]json.RawMessage
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var v map[string]json.RawMessage
		w.decode(line, &v)
		out = append(out, v)
	}
	return out
}

func TestDeployStreamsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	file := w.file("quickstart.clab.yml", example(t, "quickstart"))
	all := stream(w, w.ok("deploy", file, "--json"))
	seen := map[string]int{}
	for _, v := range all {
		var sort string
		w.decode(string(v["type"]), &sort)
		seen[sort]++
	}
	for _, sort := range []string{"plan", "node", "link", "event", "job", "result"} {
		if seen[sort] == 0 {
			t.Errorf("no object of type %s among %v", sort, seen)
		}
	}
	if seen["result"] != 1 || seen["plan"] != 1 {
		t.Errorf("objects: %v", seen)
	}
	last := all[len(all)-1]
	if string(last["type"]) != `"result"` || string(last["ok"]) != "true" || string(last["nodes"]) != "[]" {
		t.Errorf("last object: %v", last)
	}
}
