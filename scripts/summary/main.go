// Command summary reads what `go test -json` printed and tells a person how
// it went: failures in full, skips with their reasons, and a closing line
// that counts. With CI=true, a suite that must not be skipped and was is a
// failure too.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

// event is one line of test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type result struct {
	action  string
	output  []string
	elapsed float64
}

// mayskip are reasons for which a test may be skipped even in CI: what no
// machine of ours can offer.
const mayskip = "not possible on this kernel"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: summary FILE")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	tests, packages, build := read(bufio.NewScanner(f))
	_ = f.Close()
	os.Exit(tell(tests, packages, build))
}

func read(sc *bufio.Scanner) (tests, packages map[string]*result, build []string) {
	sc.Buffer(make([]byte, 1<<20), 16<<20)
	tests, packages = map[string]*result{}, map[string]*result{}
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			build = append(build, sc.Text())
			continue
		}
		if e.Action == "build-output" {
			build = append(build, strings.TrimRight(e.Output, "\n"))
			continue
		}
		into, key := packages, e.Package
		if e.Test != "" {
			into, key = tests, e.Package+" "+e.Test
		}
		r := into[key]
		if r == nil {
			r = &result{}
			into[key] = r
		}
		switch e.Action {
		case "output":
			r.output = append(r.output, e.Output)
		case "pass", "fail", "skip":
			r.action, r.elapsed = e.Action, e.Elapsed
		}
	}
	return tests, packages, build
}

func tell(tests, packages map[string]*result, build []string) int {
	count := map[string]int{}
	var failed, skipped, tables []string
	for name, r := range tests {
		if r.action == "" {
			r.action = "fail" // begun and never ended
		}
		count[r.action]++
		switch r.action {
		case "fail":
			failed = append(failed, name)
		case "skip":
			skipped = append(skipped, name)
		}
		if strings.HasSuffix(name, "Table") { // tables of results that people want to see
			tables = append(tables, name)
		}
	}
	var broken []string
	for name, r := range packages {
		if r.action == "fail" {
			broken = append(broken, name)
		}
	}
	for _, l := range build {
		fmt.Println(l)
	}
	for _, list := range [][]string{failed, skipped, tables, broken} {
		sort.Strings(list)
	}
	for _, name := range tables {
		fmt.Print(strings.Join(noise(tests[name].output), ""))
	}
	for _, name := range failed {
		fmt.Printf("--- FAIL %s\n%s", name, strings.Join(noise(tests[name].output), ""))
	}
	for _, name := range broken {
		fmt.Printf("FAIL %s\n%s", name, strings.Join(packages[name].output, ""))
	}
	bad := len(failed) + len(broken)
	for _, name := range skipped {
		why := strings.TrimSpace(strings.Join(noise(tests[name].output), " "))
		fmt.Printf("skipped %s: %s\n", name, why)
		if os.Getenv("CI") == "true" && !strings.Contains(why, mayskip) {
			fmt.Println("  in CI everything is installed, so this suite was expected to run")
			bad++
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", count["pass"], len(failed), count["skip"])
	if bad > 0 || len(build) > 0 && count["pass"] == 0 {
		return 1
	}
	return 0
}

// noise leaves out the lines that say no more than that a test ran.
func noise(lines []string) []string {
	var out []string
	for _, l := range lines {
		t := strings.TrimSpace(l)
		if strings.HasPrefix(t, "=== ") || strings.HasPrefix(t, "--- SKIP") || strings.HasPrefix(t, "--- PASS") {
			continue
		}
		out = append(out, l)
	}
	return out
}
