package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const told = `{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth"}
{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/docker/veth"}
{"Action":"output","Package":"archetype/backends/conformance","Test":"TestConformance/docker/veth","Output":"    x_test.go:7: no Docker here\n"}
{"Action":"skip","Package":"archetype/backends/conformance","Test":"TestConformance/docker/veth","Elapsed":0.1}
{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/connect"}
{"Action":"pass","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/connect"}
{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/a-b"}
{"Action":"output","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/a-b","Output":"    y.go:1: not possible on this kernel: why\n"}
{"Action":"skip","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/a-b"}
{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/begun"}
{"Action":"pass","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth","Elapsed":1.26}
{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/libvirt"}
{"Action":"output","Package":"archetype/backends/conformance","Test":"TestConformance/libvirt","Output":"    z.go:2: no libvirt: why not\n"}
{"Action":"skip","Package":"archetype/backends/conformance","Test":"TestConformance/libvirt"}
`

const want = `| case | netns × veth | docker × veth | libvirt × veth |
| --- | --- | --- | --- |
| connect | pass | – [1] | – [2] |
| a b | – [3] | – [1] | – [2] |
| begun | FAIL | – [1] | – [2] |

3 pairs, 3 cases each: 1 passed, 1 failed, 7 skipped.

[1] not run: no Docker here

[2] not run: no libvirt: why not

[3] not possible on this kernel: why
`

func TestTheTableOfPairs(t *testing.T) {
	m := conformance(read(bufio.NewScanner(strings.NewReader(told))).tests)
	if got := m.markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := m.times(); got != "netns × veth 1.3 s, docker × veth 0.1 s, libvirt × veth 0.0 s" {
		t.Error(got)
	}
}

// Pairs that share their nodes begin when others have begun, and keep their column.
func TestPairsThatRunOneAfterTheOther(t *testing.T) {
	var text strings.Builder
	for _, name := range []string{"a/veth", "b", "c/veth", "b/veth", "b/ovs"} {
		text.WriteString(`{"Action":"run","Package":"archetype/backends/conformance","Test":"TestConformance/` + name + "\"}\n")
	}
	m := conformance(read(bufio.NewScanner(strings.NewReader(text.String()))).tests)
	if got, _, _ := strings.Cut(m.markdown(), "\n"); got != "| case | a × veth | b × veth | b × ovs | c × veth |" {
		t.Error(got)
	}
}

func TestATableIsStaleOnlyWhenItSaysSomethingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n"+tableBegins+tableEnds+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := func(text string) matrix { return conformance(read(bufio.NewScanner(strings.NewReader(text))).tests) }
	if got := stale(file, found(told)); len(got) != 1 || !strings.Contains(got[0], "make conformance") {
		t.Errorf("an empty table: %v", got)
	}
	if err := write(file, want); err != nil {
		t.Fatal(err)
	}
	if got := stale(file, found(told)); got != nil {
		t.Errorf("the same table: %v", got)
	}
	failed := strings.Replace(told, `"pass","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/connect"`,
		`"fail","Package":"archetype/backends/conformance","Test":"TestConformance/netns/veth/connect"`, 1)
	if got := stale(file, found(failed)); len(got) != 1 {
		t.Errorf("another outcome: %v", got)
	}
	// What was left to another run is as the table has it, but a failure there
	// is none here.
	for why, want := range map[string]int{elsewhere: 0, "no Docker there": 1} {
		left := strings.Replace(told, "not possible on this kernel: why", why, 1)
		if got := stale(file, found(left)); len(got) != want {
			t.Errorf("skipped because %s: %v", why, got)
		}
	}
	if text, _ := os.ReadFile(file); !strings.HasPrefix(string(text), "before\n") || !strings.HasSuffix(string(text), "after\n") {
		t.Errorf("the rest of the file: %s", text)
	}
}

func TestAnExpectedSuiteThatDidNotRunIsMissed(t *testing.T) {
	r := read(bufio.NewScanner(strings.NewReader(told)))
	file := filepath.Join(t.TempDir(), "suites")
	for line, missed := range map[string]bool{
		"archetype/backends/conformance TestConformance/netns/veth":  false,
		"archetype/backends/conformance":                             false,
		"archetype/backends/conformance TestConformance/docker/veth": true,
		"archetype/backends/conformance TestConformance/netns/ve":    true,
		"archetype/engine":   true,
		"# archetype/engine": false,
	} {
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := r.absent(file); (len(got) == 1) != missed {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// What failed once and passed alone is told with what it said then, and those
// that took long are named, without those that only hold others.
func TestFirstFailureIsKept(t *testing.T) {
	r := read(bufio.NewScanner(strings.NewReader(`{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Test":"TestX","Output":"the cause\n"}
{"Action":"fail","Package":"a","Test":"TestX","Elapsed":9}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"run","Package":"a","Test":"TestX/y"}
{"Action":"output","Package":"a","Test":"TestX/y","Output":"well\n"}
{"Action":"pass","Package":"a","Test":"TestX/y","Elapsed":2}
{"Action":"pass","Package":"a","Test":"TestX","Elapsed":3}
{"Action":"pass","Package":"a","Test":"TestZ","Elapsed":1}
`)))
	if x := r.tests["a TestX"]; x.action != "pass" || strings.Join(x.first, "") != "the cause\n" || len(r.tests["a TestX/y"].first) != 0 {
		t.Errorf("%+v", x)
	}
	if got := slowest(r.innermost(), 2); got != "a TestX/y 2.0 s, a TestZ 1.0 s" {
		t.Error(got)
	}
}
