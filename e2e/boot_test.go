package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// standIn is a kind for tests: a device whose boot log is written by the test,
// line by line, through a folder that it is given.
func standIn(name, progress, more string) string {
	return fmt.Sprintf(`
name: %s
description: stand-in of the tests, no real device
providers: [netns]
interfaces: {any: true}
readiness: {probe: log, pattern: '^Router is up$', timeout: 60s}
progress: %s
embedded:
  processes:
    - name: boot
      command: [sh, -c, 'i=1; while :; do while [ ! -e /mnt/steps/$i ]; do sleep 0.02; done; cat /mnt/steps/$i; i=$((i+1)); done']
%s`, name, progress, more)
}

// script writes the boot log's next part.
type script struct {
	*world
	dir string
	n   int
}

func (w *world) script() *script {
	s := &script{world: w, dir: filepath.Join(w.dir, "steps")}
	w.write(filepath.Join(s.dir, ".keep"), "")
	return s
}

func (s *script) say(text string) {
	s.Helper()
	s.n++
	// Whole at once: the device looks for the file's name.
	tmp := filepath.Join(s.dir, ".next")
	s.write(tmp, text+"\n")
	if err := os.Rename(tmp, filepath.Join(s.dir, fmt.Sprint(s.n))); err != nil {
		s.Fatal(err)
	}
}

const slowLab = `
name: slow
topology:
  nodes:
    box: {kind: %s, binds: ["steps:/mnt/steps:ro"]}
    peer: {kind: linux}
  links:
    - endpoints: ["box:eth1", "peer:eth1"]
`

// progressStream follows the node in a deploy's stream of objects.
type progressStream struct {
	*world
	lines chan nodeJSON
	end   chan error
	seen  []int
}

func (w *world) follow(file, node string) *progressStream {
	w.Helper()
	s := &progressStream{world: w, lines: make(chan nodeJSON, 1024), end: make(chan error, 1)}
	cmd := w.command(w.Context(), "deploy", file, "--json")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			var v struct {
				Type string
				Node nodeJSON
			}
			if json.Unmarshal(sc.Bytes(), &v) == nil && v.Type == "node" && v.Node.Name == node {
				s.lines <- v.Node
			}
		}
		s.end <- cmd.Wait()
	}()
	return s
}

// until reads on until the node shows a progress, which must never fall.
func (s *progressStream) until(percent int, text string) {
	s.Helper()
	for n := range s.lines {
		if n.Actual == "starting" || n.Actual == "running" {
			if len(s.seen) > 0 && n.Progress < s.seen[len(s.seen)-1] {
				s.Errorf("progress falls from %d to %d", s.seen[len(s.seen)-1], n.Progress)
			}
			s.seen = append(s.seen, n.Progress)
		}
		if n.Progress == percent && n.ProgressText == text {
			return
		}
	}
	s.Fatalf("the stream ended before %d%% %s; it had %v", percent, text, s.seen)
}

// TestBootProgress: per cent and text, from the log to the screen, by data
// alone. The patterns are those of a built-in kind, played by a stand-in.
func TestBootProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	var kinds []struct {
		Name     string
		Progress json.RawMessage
	}
	w.decode(w.ok("vendors", "--json"), &kinds)
	at := slices.IndexFunc(kinds, func(k struct {
		Name     string
		Progress json.RawMessage
	}) bool {
		return k.Name == "ceos"
	})
	if at < 0 {
		t.Fatal("kind ceos is not known")
	}
	w.vendor("eos-stand-in.yaml", standIn("eos-stand-in", string(kinds[at].Progress), ""))
	steps := w.script()
	s := w.follow(w.file("slow.clab.yml", fmt.Sprintf(slowLab, "eos-stand-in")), "box")
	for _, step := range []struct {
		say     string
		percent int
		text    string
	}{
		{"[    1.2] Platform initialization ... \x1b[32mok\x1b[0m", 10, "platform"},
		{"noise\r\nStarting ProcMgr \x00\xff", 30, "process manager"},
		{"Platform initialization once more\nProcMgr initialization complete", 50, "processes started"},
		{"SomeAgent: patch applied", 70, "patches applied"},
		{"Nov 25 10:00:00 box %BOOT-6-READY: done", 90, "booted"},
	} {
		steps.say(step.say)
		s.until(step.percent, step.text)
		n := w.inspect("slow").node("box")
		if n.Progress != step.percent || n.ProgressText != step.text || n.Actual != "starting" {
			t.Errorf("inspect after %q: %+v", step.say, n)
		}
	}
	if r := w.run("inspect", "slow"); !strings.Contains(r.out, "starting 90%") {
		t.Errorf("inspect for people says\n%s", r.out)
	}
	steps.say("Router is up")
	s.until(100, "booted")
	for range s.lines {
	}
	if err := <-s.end; err != nil {
		t.Errorf("deploy: %v", err)
	}
	if n := w.inspect("slow").node("box"); n.Actual != "running" || n.Progress != 100 {
		t.Errorf("at the end: %+v", n)
	}
}

// TestProgressForPeople: lines where nothing is a terminal.
func TestProgressForPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("slow.yaml", standIn("slowbox", `[{text: "halfway", percent: 50, message: half of the way}]`, ""))
	steps := w.script()
	b := w.begin("deploy", w.file("slow.clab.yml", fmt.Sprintf(slowLab, "slowbox")))
	w.await("the box to boot", func() bool { return len(w.inits("slow")) == 2 })
	steps.say("halfway there")
	w.await("half of the way", func() bool {
		r := w.run("inspect", "slow", "--json")
		return strings.Contains(r.out, `"progress":50,"progress_text":"half of the way"`)
	})
	steps.say("Router is up")
	if err := <-b.end; err != nil {
		t.Errorf("%v\n%s", err, b.out)
	}
	if out := b.out.String(); !strings.Contains(out, "starting 50% half of the way") {
		t.Errorf("no line of progress:\n%s", out)
	}
}

const mixed = `
name: mixed
topology:
  nodes:
    good: {kind: linux}
    other: {kind: linux}
    bad: {kind: %s}
  links:
    - endpoints: ["good:eth1", "other:eth1"]
    - endpoints: ["good:eth2", "bad:eth1"]
`

// TestDeployThatCannotComplete says which nodes and links are not up, and why.
func TestDeployThatCannotComplete(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		node       []string // what is said of the node
	}{
		{"a program is missing", `
name: routerd
providers: [netns]
interfaces: {any: true}
embedded:
  needs: [{path: /usr/lib/routerd/routerd, package: routerd-tools}]
`, []string{"routerd", "install the package routerd-tools"}},
		{"it ends while it boots", `
name: routerd
providers: [netns]
interfaces: {any: true}
readiness: {probe: log, pattern: never}
embedded:
  processes:
    - {name: router, command: [sh, -c, "echo the configuration is wrong on line 7; exit 3"], ready: /run/ready}
`, []string{"process router ended with code 3"}},
		{"it is not ready in time", `
name: routerd
providers: [netns]
interfaces: {any: true}
readiness: {probe: log, pattern: 'login:', timeout: 200ms}
embedded:
  processes:
    - {name: router, command: [sh, -c, "echo waiting for a licence; sleep 1000"]}
`, []string{"not ready in time", `"login:"`, "waiting for a licence"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asUser)
			w.vendor("routerd.yaml", c.kind)
			file := w.file("mixed.clab.yml", fmt.Sprintf(mixed, "routerd"))
			r := w.code(1, "deploy", file)
			bad := lineWith(r.out, "node bad is error: ")
			for _, want := range c.node {
				if !strings.Contains(bad, want) {
					t.Errorf("the node's line does not say %q:\n%s", want, r.out)
				}
			}
			if !strings.Contains(r.out, "deploy of mixed: failed") {
				t.Errorf("it says\n%s", r.out)
			}
			l := w.inspect("mixed")
			if l.Lab.State != "degraded" || l.node("good").Actual != "running" || l.node("bad").Actual != "error" ||
				l.link("good:eth1", "other:eth1").Actual != "up" {
				t.Errorf("the rest of the lab: %+v", l)
			}
			shown := lineWith(w.ok("inspect", "mixed"), "routerd")
			for _, want := range c.node {
				if !strings.Contains(l.node("bad").Error, want) || !strings.Contains(shown, want) {
					t.Errorf("inspect does not say %q: %s\n%s", want, l.node("bad").Error, shown)
				}
			}
			var result struct {
				OK    bool
				Nodes []nodeJSON
				Links []linkJSON
			}
			all := strings.Split(strings.TrimSpace(w.code(1, "deploy", file, "--json").out), "\n")
			w.decode(all[len(all)-1], &result)
			if result.OK || len(result.Nodes) != 1 || result.Nodes[0].Name != "bad" || result.Nodes[0].Error == "" {
				t.Errorf("--json ends with %s", all[len(all)-1])
			}
			// The kind is mended, and the engine learns of it.
			w.vendor("routerd.yaml", "name: routerd\nproviders: [netns]\ninterfaces: {any: true}\n")
			w.ok("deploy", file)
			if l := w.inspect("mixed"); !l.whole() {
				t.Errorf("after the kind was mended: %+v", l)
			}
		})
	}
}

func lineWith(text, part string) string {
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// TestLinkThatWaits names the node that it waits for.
func TestLinkThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("routerd.yaml", "name: routerd\nproviders: [netns]\ninterfaces: {any: true}\nembedded: {needs: [{path: /no/such, package: routerd-tools}]}\n")
	r := w.code(1, "deploy", w.file("mixed.clab.yml", fmt.Sprintf(mixed, "routerd")))
	if line := lineWith(r.out, "link good:eth2 -- bad:eth1 is "); !strings.Contains(line, "waits for bad, which is in error") {
		t.Errorf("it says\n%s", r.out)
	}
	// The good end has its interface all the same.
	if out := w.sh("mixed", "good", "ip link show eth2"); !strings.Contains(out, "eth2") {
		t.Errorf("good:eth2: %s", out)
	}
}
