package privilege_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/backends/privilege"
)

var update = flag.Bool("update", false, "write the table into the documents")

// TestDocuments: what is documented is what the program goes by.
func TestDocuments(t *testing.T) {
	const file = "../../docs/privilege.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), "<!-- table -->\n")
	_, tail, end := strings.Cut(rest, "<!-- end -->")
	if !ok || !end {
		t.Fatalf("%s has no place for the table", file)
	}
	want := head + "<!-- table -->\n" + privilege.Text() + "<!-- end -->" + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(b) {
		t.Errorf("%s differs from the table: go test ./backends/privilege -update", file)
	}
}

// TestTryLeavesNothing: a deep look, which makes interfaces and disciplines,
// does so in a namespace of its own.
func TestTryLeavesNothing(t *testing.T) {
	before, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	needs := privilege.Table{Rootless: os.Geteuid() != 0}.Of(backends.RoleNetwork, "linuxbridge", backends.Availability{OK: true}, true)
	sorts := map[backends.NeedSort]bool{}
	for _, n := range needs {
		sorts[n.Sort] = true
		if n.Why == "" || (!n.OK && (n.Reason == "" || n.Fix == "")) {
			t.Errorf("%s %s does not explain itself: %+v", n.Sort, n.Name, n)
		}
	}
	if !sorts[backends.NeedKernel] {
		t.Errorf("nothing of the kernel was looked at: %+v", needs)
	}
	after, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	if names(string(before)) != names(string(after)) {
		t.Errorf("interfaces before:\n%s\nand after:\n%s", before, after)
	}
}

// names are those of interfaces that the program might have made.
func names(dev string) string {
	var out []string
	for _, l := range strings.Split(dev, "\n") {
		if name, _, ok := strings.Cut(strings.TrimSpace(l), ":"); ok && strings.HasPrefix(name, "try") {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}
