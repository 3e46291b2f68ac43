package topology

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/containerlab.md anew")

const docsFile = "../docs/containerlab.md"

const begin, end = "<!-- tables: made by go test ./topology -update -->", "<!-- end of tables -->"

// tables are what the reader's own lists say.
func tables() string {
	var b strings.Builder
	table := func(title, first string, constructs []construct) {
		fmt.Fprintf(&b, "\n### %s\n\n| %s | served | |\n| --- | --- | --- |\n", title, first)
		for _, c := range constructs {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.name, c.status, strings.ReplaceAll(c.note, "|", "\\|"))
		}
	}
	var types []construct
	for _, l := range linkTypes {
		types = append(types, l.construct)
	}
	table("The file", "field", topConstructs)
	table("`mgmt`", "field", mgmtConstructs)
	table("`topology`", "section", sectionConstructs)
	table("Nodes, defaults, kinds and groups", "field", nodeConstructs)
	table("`dns`", "field", dnsConstructs)
	table("`healthcheck`", "field", healthConstructs)
	table("A stage of `stages`", "field", stageConstructs)
	table("`wait-for` of a stage", "field", waitConstructs)
	table("`exec` of a stage", "field", stageExecConstructs)
	table("Links", "field", linkConstructs)
	table("Types of links", "type", types)
	table("Nodes that are bridges of the machine (`network-mode: host`)", "kind", bridgeEnds)
	table("Endpoints", "field", endpointConstructs)
	table("Functions of templates, beside Go's own", "function", templateFunctions)
	return b.String()
}

func TestDocs(t *testing.T) {
	data, err := os.ReadFile(filepath.FromSlash(docsFile))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin+"\n")
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks of its tables", docsFile)
	}
	want := before + begin + "\n" + tables() + "\n" + end + after
	if *update {
		if err := os.WriteFile(filepath.FromSlash(docsFile), []byte(want), 0o644); err != nil { //nolint:gosec // documentation
			t.Fatal(err)
		}
		return
	}
	if string(data) != want {
		t.Errorf("%s is not what the reader does: run go test ./topology -run TestDocs -update", docsFile)
	}
}

// What the tables call served is read, and what is read is in the tables.
func TestConstructsAreRead(t *testing.T) {
	handled := map[string]bool{"tmpfs": true, "security-opt": true, "stages": true}
	for name := range readers {
		handled[name] = true
	}
	for _, name := range append(mergedMaps, mergedLists...) {
		handled[name] = true
	}
	for _, c := range nodeConstructs {
		if c.status == served && !handled[c.name] {
			t.Errorf("%s is called served and nobody reads it", c.name)
		}
		if c.status == later && c.note == "" {
			t.Errorf("%s is not served and nothing says what is missing", c.name)
		}
		delete(handled, c.name)
	}
	for name := range handled {
		t.Errorf("%s is read and in no table", name)
	}
}
