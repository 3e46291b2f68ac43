package e2e

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestWrongUse: whatever is typed wrongly ends with exit code 2 and says what
// to write, and what is asked for and is not there with 1.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	good := w.file("good.clab.yml", ring("good", 2))
	bad := w.file("bad.clab.yml", "name: bad\ntopology:\n  nodes:\n    a: {knd: linux}\n")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"deploy", 2, "write: archetype deploy FILE"},
		{"deploy nofile.yml", 2, "no topology file nofile.yml"},
		{"deploy " + bad, 2, "bad.clab.yml:4:"},
		{"deploy " + good + " --network ofs", 2, `no network named "ofs"`},
		{"deploy " + good + " --provider dokker", 2, `no provider named "dokker"`},
		{"deploy --bogus " + good, 2, "unknown flag: --bogus"},
		{"deply " + good, 2, "did you mean deploy?"},
		{"dokter", 2, "did you mean doctor?"},
		{"nofile.clab.yml", 2, "no topology file nofile.clab.yml"},
		{good, 2, "the workbench needs a terminal"},
		{"check nofile.yml", 2, "no topology file nofile.yml"},
		{"check " + bad, 2, `did you mean "kind"?`},
		{"inspect one two", 2, "write: archetype inspect [LAB]"},
		{"inspect nolab", 1, "no lab nolab is deployed"},
		{"destroy nolab --yes", 1, "no lab nolab is deployed"},
		{"destroy nolab", 2, "needs --yes when nobody can be asked"},
		{"start", 2, "write: archetype start LAB [NODE...]"},
		{"stop nolab n", 1, "no lab nolab is deployed"},
		{"restart nolab", 1, "no lab nolab is deployed"},
		{"exec nolab", 2, "archetype exec LAB NODE -- COMMAND"},
		{"exec nolab n -w /etc -- ls", 2, "write flags before LAB"},
		{"exec nolab n -- ls", 1, "no lab nolab is deployed"},
		{"console nolab n", 2, "a console needs a terminal"},
		{"logs nolab", 2, "write: archetype logs LAB NODE"},
		{"logs nolab n", 1, "no lab nolab is deployed"},
		{"link", 2, "connect, disconnect"},
		{"link conect a b c", 2, "did you mean connect?"},
		{"link connect nolab b c", 2, "write node:interface"},
		{"link connect nolab a:eth1 b:eth1", 1, "no lab nolab is deployed"},
		{"vendors all", 2, "write: archetype vendors"},
		{"doctor please", 2, "write: archetype doctor"},
	} {
		r := w.run(strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("want exit code %d and %q, got %s", c.code, c.says, r)
		}
	}
	// In a terminal, too, which is asked nothing: some never answer.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tty, err := pty.Start(w.command(ctx, "check", "nofile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	said, _ := io.ReadAll(tty) // until the other end is closed, which is an error
	if got := string(said); got != "archetype: no topology file nofile.yml\r\n" {
		t.Errorf("in a terminal: %q", got)
	}
}

func TestWrongNamesInALab(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.ok("deploy", w.file("ring.clab.yml", ring("ring", 2)))
	for _, c := range []struct{ args, says string }{
		{"inspect rang", "did you mean ring?"},
		{"restart ring n7", "lab ring has no node n7 (its nodes are n0, n1)"},
		{"exec ring n7 -- true", "lab ring has no node n7"},
		{"link disconnect ring n0:eth1 n1:eth9", "n0:eth1 -- n1:eth2"},
	} {
		if r := w.code(1, strings.Fields(c.args)...); !strings.Contains(r.err, c.says) {
			t.Errorf("want %q: %s", c.says, r)
		}
	}
	if out := w.ok("__complete", "exec", ""); !strings.Contains(out, "ring\n") {
		t.Errorf("completion of labs: %q", out)
	}
	if out := w.ok("__complete", "exec", "ring", ""); !strings.Contains(out, "n0\nn1\n") {
		t.Errorf("completion of nodes: %q", out)
	}
}

func TestJSONOfWhatNeedsNoLab(t *testing.T) {
	everyMode(t, func(w *world) {
		var findings []struct {
			Name string
			OK   bool
		}
		w.decode(w.ok("doctor", "--json"), &findings)
		ok := map[string]bool{}
		for _, f := range findings {
			ok[f.Name] = f.OK
		}
		for _, name := range []string{"provider netns", "network veth", "network linuxbridge", "folder for state"} {
			if !ok[name] {
				w.Errorf("%s is not found to be well: %+v", name, findings)
			}
		}
		var check struct {
			OK           bool
			Lab          string
			Nodes, Links int
			Diagnostics  []struct{ Line, Column int }
		}
		w.decode(w.ok("check", w.file("ring.clab.yml", ring("ring", 3)), "--json"), &check)
		if !check.OK || check.Lab != "ring" || check.Nodes != 3 || check.Links != 3 || len(check.Diagnostics) != 0 {
			w.Errorf("check of a good file: %+v", check)
		}
		var nodes strings.Builder
		for i := range 12 {
			fmt.Fprintf(&nodes, "    n%d: {kind: none}\n", i)
		}
		flood := w.file("flood.clab.yml", "name: flood\ntopology:\n  nodes:\n"+nodes.String())
		for _, verb := range []string{"check", "deploy"} {
			said := w.code(2, verb, flood)
			if n := strings.Count(said.String(), "unknown kind"); n != 10 || !strings.Contains(said.String(), "error: and 2 more errors (") {
				w.Errorf("of 12 nodes of no kind, %s tells\n%s", verb, said)
			}
			if all := w.code(2, verb, flood, "--json"); strings.Count(all.out, "unknown kind") != 12 {
				w.Errorf("of 12 nodes of no kind, %s --json tells\n%s", verb, all.out)
			}
		}
		r := w.code(2, "check", w.file("bad.clab.yml", "name: bad\ntopology:\n  nodes:\n    a: {knd: linux}\n"), "--json")
		w.decode(r.out, &check)
		if check.OK || len(check.Diagnostics) == 0 || check.Diagnostics[0].Line != 4 {
			w.Errorf("check of a bad file: %s", r)
		}
		if out := w.ok("completion", "bash"); !strings.Contains(out, "bash completion") {
			w.Errorf("completion: %.80q", out)
		}
	})
}

// TestVendorFiles: what is wrong with a user's kind is said with its place,
// and one that takes the place of another names both.
func TestVendorFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("linux.yaml", "name: linux\nproviders: [netns]\ninterfaces: {any: true}\n")
	w.vendor("broken.yaml", "name: broken\nproviders: [netns]\nprogress:\n  - {regexp: '(', percent: 10}\n  - {text: x, percent: 101}\n")
	w.vendor("typo.yaml", "name: typo\nprovders: [netns]\n")
	r := w.code(0, "vendors")
	for _, want := range []string{`linux.yaml:1:1: warning: kind "linux" takes the place of the one from built-in`,
		"broken.yaml:4:", "bad regular expression", "broken.yaml:5:", "percent 101 is not within 1 to 100",
		"typo.yaml:2:1:", `unknown field "provders"`} {
		if !strings.Contains(r.err, want) {
			t.Errorf("it does not say %q: %s", want, r)
		}
	}
}

// TestVendorFileBreaks: a kind of the user's own whose file gets an error while
// a lab of it runs costs that lab nothing, and is said with its place by
// whoever reads it; check says where a kind's data comes from.
func TestVendorFileBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	const good = "name: acmebox\nproviders: [netns]\ninterfaces: {any: true}\n"
	w.vendor("acme.yaml", good)
	file := w.file("acme.clab.yml", "name: acme\ntopology:\n  nodes: {a: {kind: acmebox}, b: {kind: linux}}\n  links: [{endpoints: [\"a:eth1\", \"b:eth1\"]}]\n")
	from := filepath.Join(w.home, "config", "vendors", "acme.yaml")
	if out := w.ok("check", file); !strings.Contains(out, "kind acmebox is what "+from+" says\n") || strings.Contains(out, "kind linux") {
		t.Errorf("check says\n%s", out)
	}
	var checked struct{ Kinds map[string]string }
	w.decode(w.ok("check", file, "--json"), &checked)
	if checked.Kinds["acmebox"] != from || checked.Kinds["linux"] != "built-in" {
		t.Errorf("check --json says %v", checked.Kinds)
	}
	w.ok("deploy", file)
	before := w.awaitWhole("acme")
	for place, text := range map[string]string{
		"acme.yaml:4:":   good + "readiness: {probe: log, pattern: '('}\n",
		"acme.yaml:2:1:": "name: acmebox\nprovders: [netns]\n",
		"acme.yaml:3:":   "name: acmebox\nproviders: [netns]\n\t- no YAML\n",
	} {
		w.vendor("acme.yaml", text)
		for _, verb := range []string{"check", "deploy"} {
			if r := w.code(2, verb, file); !strings.Contains(r.err, place) {
				t.Errorf("%s does not say %s: %s", verb, place, r)
			}
		}
		if r := w.code(0, "vendors"); !strings.Contains(r.err, place) || strings.Contains(r.out, "acmebox") || !strings.Contains(r.out, "nokia_srlinux") {
			t.Errorf("vendors does not say %s: %s", place, r)
		}
		now := w.inspect("acme")
		if !now.whole() || now.node("a").PID != before.node("a").PID {
			t.Errorf("the lab with %s: %+v", place, now)
		}
	}
	w.ok("stop", "acme", "a") // what runs goes by what was read when it was deployed
	w.ok("start", "acme", "a")
	w.vendor("acme.yaml", good)
	if out := w.ok("deploy", file); !strings.Contains(out, "nothing changed") {
		t.Errorf("mended: %s", out)
	}
	w.awaitWhole("acme")
}
