package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"archetype/engine/api"
	"archetype/internal/guest"
	"archetype/lab"
)

// clockFiles are of a machine of its own, whose clock can be set.
var clockFiles = map[string]string{
	"/home/config/settings.yaml": "network: linuxbridge\nretry: {first: 1s, cap: 2s, tries: 100}\n",
	// They boot when a file is there, and have a long and a short time for it.
	"/home/config/vendors/slow.yml":  "name: slow\nconsole: {method: shell, shell: [sh]}\nproviders: [netns]\ninterfaces: {any: true}\nreadiness: {probe: command, command: [test, -e, /ready], timeout: 5m}\n",
	"/home/config/vendors/never.yml": "name: never\nconsole: {method: shell, shell: [sh]}\nproviders: [netns]\ninterfaces: {any: true}\nreadiness: {probe: command, command: [test, -e, /ready], timeout: 1s}\n",
	"/l.clab.yml": "name: l\ntopology:\n  nodes:\n    a: {kind: linux, exec: [ip addr add 10.0.0.1/24 dev eth1]}\n    b: {kind: linux, exec: [ip addr add 10.0.0.2/24 dev eth1]}\n" +
		"  links: [{endpoints: [\"a:eth1\", \"b:eth1\"]}]\n",
	"/s.clab.yml": "name: s\ntopology:\n  nodes: {x: {kind: slow}}\n",
	"/n.clab.yml": "name: n\ntopology:\n  nodes: {y: {kind: never}}\n",
}

// clockScript sets the clock by hours under a lab that runs, one that boots and
// waits for it, one that is tried again and again, and between two engines.
const clockScript = `
export ARCHETYPE_HOME=/home PATH=/:$PATH
mkdir -p /tmp; ip link set lo up
clock() { date -s "@$(($(date +%s) + $1 * 3600))" >/dev/null || echo "FAULT the clock cannot be set"; }
is() { archetype inspect --json $1 | grep -q "\"actual\": *\"$2\""; }
await() {
 for i in $(seq 100); do is $1 $2 2>/dev/null && return; sleep 0.2; done; echo "FAULT lab $1 never is $2"; archetype inspect $1; exit; }
show() { echo "SHOW $1"; shift; "$@"; echo "SHOWN"; }
archetype deploy /l.clab.yml >/dev/null || { echo FAULT deploy l; exit; }
archetype deploy /n.clab.yml >/dev/null 2>&1 && echo FAULT n boots
archetype deploy /s.clab.yml >/deployed 2>&1 & slow=$!
await s starting
clock 6
archetype exec l a -- ping -c 1 -W 5 10.0.0.2 >/dev/null || echo FAULT no frame crosses after the clock was set forward
is s starting || echo FAULT s was given up when the clock was set forward
clock -12
archetype exec l a -- ping -c 1 -W 5 10.0.0.2 >/dev/null || echo FAULT no frame crosses after the clock was set back
sleep 3; touch /ready
wait $slow || { cat /deployed; echo FAULT the deployment failed whose deadline was not over; }
grep -- "after -" /deployed && echo FAULT it took less than no time
await n running
archetype restart l a >/dev/null || echo FAULT restart a
archetype engine stop >/dev/null
clock -24
show states archetype inspect --json
archetype restart l b >/dev/null || echo FAULT restart b
archetype engine stop >/dev/null
clock 48
show jobs archetype jobs --json
archetype exec l a -- ping -c 1 -W 5 10.0.0.2 >/dev/null || echo FAULT no frame crosses at the end
for lab in l s n; do archetype destroy --yes $lab >/dev/null || echo FAULT destroy $lab; done
test -z "$(ls /home/state/labs 2>/dev/null)" || echo FAULT folders of labs are left
show times cat /home/state/boot-times.json
echo THE END
`

// TestClockIsSet: the real program on a machine whose clock is set by hours,
// forward and back. Nothing is given up before its time, nothing waits for
// hours, what was asked for stays in its order, and links go on.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	k := guest.Find(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	files := []guest.File{{Path: "/archetype", Mode: 0o755, Source: program}}
	w := &world{T: t, dir: dir}
	for path, text := range clockFiles {
		files = append(files, guest.File{Path: path, Mode: 0o644, Source: w.file(strings.ReplaceAll(path[1:], "/", "-"), text)})
	}
	r := k.Run(t, guest.Command{Program: busybox, Args: []string{"sh", "-c", clockScript}, Files: files, Memory: 768,
		Modules: []string{"veth", "bridge"}, Patience: 4 * time.Minute})
	text := strings.ReplaceAll(string(r.Output), "\r", "")
	if !strings.Contains(text, "THE END") || strings.Contains(text, "FAULT") {
		t.Fatalf("the guest says:\n%s", text)
	}
	shown := func(what string, to any) {
		t.Helper()
		_, part, _ := strings.Cut(text, "SHOW "+what+"\n")
		part, _, _ = strings.Cut(part, "SHOWN")
		if err := json.Unmarshal([]byte(part), to); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, text)
		}
	}
	var labs []api.Lab
	shown("states", &labs)
	for _, l := range labs {
		if l.State != lab.StateRunning {
			t.Errorf("after the engine's end lab %s is %s", l.Name, l.State)
		}
	}
	var jobs []api.Job
	shown("jobs", &jobs)
	var order []string
	last := 0
	for _, j := range jobs {
		if j.Verb != lab.JobExec { // which is shown only where it takes long
			order = append(order, fmt.Sprintf("%s %s", j.Lab, j.Verb))
		}
		var n int
		if _, err := fmt.Sscanf(j.ID, "j%d", &n); err != nil || n <= last {
			t.Errorf("job %s comes after number %d: %v", j.ID, last, err)
		}
		last = n
	}
	if want := "l deploy, n deploy, s deploy, l restart, l restart"; strings.Join(order, ", ") != want {
		t.Errorf("the jobs are %v, not %s", order, want)
	}
	var times map[string][]float64
	shown("times", &times)
	for of, took := range times {
		for _, s := range took {
			if s > 600 {
				t.Errorf("a boot of %s is remembered to have taken %g s", of, s)
			}
		}
	}
}
