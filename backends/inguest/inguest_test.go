package inguest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/internal/guest"
)

// inside tells a test that it runs in the guest.
const inside = "ARCHETYPE_IN_GUEST"

// suites are the tests that run there, by package.
var suites = []struct{ name, pkg, run string }{
	{"kernel", "archetype/backends/inguest", "^TestGuest"},
	{"outside", "archetype/backends/outside", "^TestDummy$"},
	{"privilege", "archetype/backends/privilege", "^TestTry"},
}

// openvswitch is what a switch is made of.
var openvswitch = []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"}

var verdict = regexp.MustCompile(`(?m)^(?:\S* )?--- (PASS|FAIL|SKIP): (\S+) `)

// TestInGuest boots one guest for all of it and reports what each test said.
func TestInGuest(t *testing.T) {
	if os.Getenv(inside) != "" {
		t.Skip("it is the guest")
	}
	k := guest.Find(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	files := switchFiles(t)
	var script strings.Builder
	script.WriteString("export TMPDIR=/run\nmkdir -p /var/run\nip link set lo up\n")
	for _, s := range suites {
		out := filepath.Join(dir, s.name)
		build := exec.Command("go", "test", "-c", "-o", out, s.pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", s.pkg, err, text)
		}
		files = append(files, guest.File{Path: "/tests/" + s.name, Mode: 0o755, Source: out})
		fmt.Fprintf(&script, "echo; echo SUITE %s\ncd /tests; /tests/%s -test.v -test.run %s\n", s.name, s.name, guest.Quote(s.run))
	}
	script.WriteString("echo; echo THE END\n")
	r := k.Run(t, guest.Command{Program: busybox, Args: []string{"sh", "-c", script.String()}, Env: []string{inside + "=1"}, Files: files, Memory: 768,
		Modules: []string{"veth", "bridge", "sch_ingress", "cls_u32", "act_mirred", "sch_netem", "sch_tbf", "openvswitch", "dummy", "8021q", "vrf", "macvlan", "vxlan"}, Patience: 10 * time.Minute})
	text := strings.ReplaceAll(string(r.Output), "\r", "")
	if !strings.Contains(text, "THE END") {
		t.Fatalf("it ended early:\n%s", text)
	}
	for _, s := range suites {
		_, said, _ := strings.Cut(text, "SUITE "+s.name+"\n")
		said, _, _ = strings.Cut(said, "\nSUITE ")
		t.Run(s.name, func(t *testing.T) { tell(t, said) })
	}
}

// tell reports as tests of this machine what those in the guest said.
func tell(t *testing.T, said string) {
	all := verdict.FindAllStringSubmatch(said, -1)
	if len(all) == 0 {
		t.Fatalf("nothing ran:\n%s", said)
	}
	for _, v := range all {
		t.Run(v[2], func(t *testing.T) {
			switch v[1] {
			case "FAIL":
				t.Errorf("it failed in the guest:\n%s", said)
			case "SKIP":
				t.Skip("it was skipped in the guest: ", said)
			}
		})
	}
	if !strings.HasSuffix(strings.TrimSpace(said), "THE END") && !strings.Contains(said, "\nPASS") && !t.Failed() {
		t.Errorf("it did not come to its end:\n%s", said)
	}
}

// switchFiles are Open vSwitch's programs with all that they need; none where
// it is not installed, and then the tests of it are skipped.
func switchFiles(t *testing.T) []guest.File {
	t.Helper()
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	paths := []string{schema}
	for _, name := range openvswitch {
		program, err := exec.LookPath(name)
		if err != nil {
			return nil
		}
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			t.Fatal("ldd: ", err)
		}
		paths = append(paths, program)
		for f := range strings.FieldsSeq(string(out)) {
			if filepath.IsAbs(f) {
				paths = append(paths, f)
			}
		}
	}
	slices.Sort(paths)
	var files []guest.File
	for _, p := range slices.Compact(paths) {
		mode := fs.FileMode(0o755)
		if p == schema {
			mode = 0o644
		}
		files = append(files, guest.File{Path: p, Mode: mode, Source: p})
	}
	return files
}
