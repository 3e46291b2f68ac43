package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need is one thing that a pair needs, as doctor says it.
type need struct {
	Sort, Name, Why, Reason string
	OK, Optional            bool
}

// pairNeeds asks doctor what a pair needs.
func pairNeeds(w *world, pair string) (needs []need, ok bool) {
	w.Helper()
	var findings []struct {
		Name  string
		OK    bool
		Needs []need
	}
	w.decode(w.ok("doctor", "--json"), &findings)
	for _, f := range findings {
		if f.Name == "pair "+pair {
			return f.Needs, f.OK
		}
	}
	w.Fatalf("doctor says nothing of the pair %s: %+v", pair, findings)
	return nil, false
}

// TestNeedsAreEnough: a root that has the capabilities which doctor names, and
// no other, runs a lab on that pair; without one of them it is told which.
func TestNeedsAreEnough(t *testing.T) {
	t.Parallel()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv")
	}
	w := newWorld(t, asRoot)
	file := w.file("ring.clab.yml", ring("privileged", 3))
	for _, network := range []string{"veth", "linuxbridge"} {
		bounds := []string{"-all"}
		needs, ok := pairNeeds(w, "netns+"+network)
		if !ok {
			w.Fatalf("netns+%s is not available: %+v", network, needs)
		}
		for _, n := range needs {
			if n.Sort == "capability" && !n.Optional {
				bounds = append(bounds, "+"+strings.ToLower(strings.TrimPrefix(n.Name, "CAP_")))
			}
		}
		if len(bounds) < 3 {
			w.Fatalf("netns+%s needs next to nothing: %+v", network, needs)
		}
		w.prefix = []string{setpriv, "--bounding-set", strings.Join(bounds, ",")}
		w.ok("deploy", file, "--network", network)
		w.sh("privileged", "n0", "ip link show eth1")
		w.ok("destroy", "privileged", "--yes")
		if !became(func() bool { return len(w.processes()) == 0 }) {
			w.Fatalf("processes are left: %v", w.processes()) // they would lend what the next one lacks
		}
		w.prefix = []string{setpriv, "--bounding-set", "-net_admin"}
		if r := w.code(1, "deploy", file, "--network", network); !strings.Contains(r.err, "CAP_NET_ADMIN") {
			w.Errorf("without CAP_NET_ADMIN: %s", r)
		}
		if r := w.code(1, "doctor"); !strings.Contains(r.out, "provider netns          it needs the capability CAP_NET_ADMIN") || strings.Contains(r.out, "ok       engine") {
			w.Errorf("without CAP_NET_ADMIN doctor says: %s", r)
		}
		w.prefix = nil
	}
}

// TestEveryProviderIsCheckedFirst: one node whose own provider cannot be used
// keeps all of the lab from being touched, and the error says which and why.
func TestEveryProviderIsCheckedFirst(t *testing.T) {
	everyMode(t, func(w *world) {
		w.write(filepath.Join(w.home, "config", "settings.yaml"), "docker: {host: unix:///nowhere/docker.sock}\n")
		text := "name: mixed\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux, image: none, provider: docker}\n" +
			"  links:\n    - endpoints: [a:eth1, b:eth1]\n"
		r := w.code(1, "deploy", w.file("mixed.clab.yml", text))
		for _, want := range []string{"provider docker", "node b", "cannot be used here"} {
			if !strings.Contains(r.err, want) {
				w.Errorf("%q is not in: %s", want, r)
			}
		}
		if got := strings.TrimSpace(w.ok("inspect", "--json")); got != "[]" && got != "null" {
			w.Errorf("a lab was made: %s", got)
		}
		if entries, err := os.ReadDir(filepath.Join(w.state(), "labs")); err == nil && len(entries) > 0 {
			w.Errorf("folders were made: %v", entries)
		}
		if needs, ok := pairNeeds(w, "docker+veth"); ok || len(needs) == 0 {
			w.Errorf("doctor takes docker+veth for available (%v): %+v", ok, needs)
		}
		// A node that is added to a lab that runs is looked at just so.
		w.ok("deploy", w.file("one.clab.yml", ring("one", 3)))
		r = w.code(1, "node", "add", "one", "extra", "--kind", "linux", "--provider", "docker")
		if !strings.Contains(r.err, "provider docker") || strings.Contains(w.ok("inspect", "one", "--json"), "extra") {
			w.Errorf("a node that cannot run was taken: %s", r)
		}
	})
}

// TestForbiddenUserNamespacesAreExplained: where an ordinary user may have no user
// namespace, a deploy and doctor name the setting that forbids it, and nothing is
// started.
func TestForbiddenUserNamespacesAreExplained(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare")
	}
	w := newWorld(t, asUser)
	file := w.file("ring.clab.yml", ring("forbidden", 3))
	w.env = append(w.env, "ARCHETYPE_ROOTLESS=1")
	// In a namespace of its own the limit can be had without being the machine's.
	w.prefix = []string{unshare, "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh"}
	r := w.code(1, "deploy", file)
	said := map[string]string{"deploy": r.err, "doctor": w.run("doctor").out}
	for what, text := range said {
		if !strings.Contains(text, "user.max_user_namespaces is 0") || !strings.Contains(text, "sysctl user.max_user_namespaces=") || strings.Contains(text, "fork/exec") {
			t.Errorf("%s says %s", what, text)
		}
	}
	if left := w.processes(); len(left) > 0 {
		t.Errorf("started all the same: %v", left)
	}
	w.prefix = nil
}
