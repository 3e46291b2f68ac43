package e2e

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
)

// writeFaults writes the line of a pair into the table in docs/faults.md.
func writeFaults(t *testing.T, pair string, counts map[string]count) {
	t.Helper()
	path := cmp.Or(os.Getenv("FAULTS_DOC"), "../docs/faults.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line strings.Builder
	all := 0
	fmt.Fprintf(&line, "| %s |", pair)
	for _, name := range []string{"deploy", "apply", "start", "stop", "restart", "connect", "disconnect", "swap", "destroy"} {
		fmt.Fprintf(&line, " %d |", counts[name].Killed)
		all += counts[name].Killed
	}
	fmt.Fprintf(&line, " %d | %d | 0 |\n", all, all)
	var b strings.Builder
	found := false
	for l := range strings.Lines(string(data)) {
		if !found && strings.HasPrefix(l, "| "+pair+" |") { // the first table: others have pairs, too
			l, found = line.String(), true
		}
		b.WriteString(l)
	}
	if !found {
		t.Fatalf("%s has no line for %s", path, pair)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
