// Command summary reads what `go test -json` printed and tells a person how
// it went: failures in full, skips with their reasons, the table of the
// conformance suite, and a closing line that counts. With CI=true it is a
// failure too when a suite that was expected to run did not, or when the table
// in the documentation says something else.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
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
	first   []string // what it said when it failed beside others, before it was run again
	elapsed float64
	order   int
}

// mayskip are reasons for which a test may be skipped even in CI: what no
// machine of ours can offer, what cannot be by its nature, and what is started
// by another test, by another target or by a person.
var mayskip = regexp.MustCompile("not possible (on this kernel|without root|with [a-z]+:)|runs only in (the guest|make [a-z]+|a run by hand)")

func main() {
	into := flag.String("into", "", "write the conformance table into this file")
	shortInto := flag.String("short", "", "write its short form, a cell for each pair, into this file")
	table := flag.String("table", "", "with CI=true: compare it with the one in this file")
	suites := flag.String("suites", "", "with CI=true: each line of this file must have passed (a package, or one and a test of it)")
	again := flag.Bool("again", false, "print only what failed: of each package a line with its name and the pattern (go test -run) of those tests")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: summary [-again] [-into FILE [-short FILE]] [-table FILE] [-suites FILE] FILE")
		os.Exit(2)
	}
	f, err := os.Open(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	r := read(bufio.NewScanner(f))
	_ = f.Close()
	if *again {
		fmt.Print(r.again())
		return
	}
	found := conformance(r.tests)
	m := found.markdown()
	var complaints []string
	if *into != "" && m != "" {
		if err := write(*into, m); err != nil {
			complaints = append(complaints, *into+": "+err.Error())
		}
		if err := shorten(*into, *shortInto); err != nil {
			complaints = append(complaints, *shortInto+": "+err.Error())
		}
	}
	if os.Getenv("CI") == "true" {
		complaints = append(append(complaints, r.absent(*suites)...), stale(*table, found)...)
	}
	os.Exit(tell(r, m, complaints))
}

// run is everything that `go test` told.
type run struct {
	tests, packages map[string]*result // a test's name has its package before it
	build           []string           // what belongs to no test
}

// absent lists the suites that were expected to run and of which nothing
// passed.
func (r run) absent(file string) []string {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !r.passed(line) {
			out = append(out, "in CI this suite was expected to run, and no test of it passed: "+line)
		}
	}
	return out
}

func (r run) passed(suite string) bool {
	for name, t := range r.tests {
		rest, ok := strings.CutPrefix(name, suite)
		if ok && t.action == "pass" && (rest == "" || rest[0] == ' ' || rest[0] == '/') {
			return true
		}
	}
	return false
}

// stale compares the table in a file with what was found. What runs elsewhere
// is believed.
func stale(file string, found matrix) []string {
	if file == "" || len(found.pairs) == 0 {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	found.believe(string(data))
	_, changed, err := fit(string(data), found.markdown())
	switch {
	case err != nil:
		return []string{file + ": " + err.Error()}
	case changed:
		return []string{file + " has another table than these tests: run make conformance and commit it"}
	}
	return nil
}

func read(sc *bufio.Scanner) run {
	sc.Buffer(make([]byte, 1<<20), 16<<20)
	tests, packages := map[string]*result{}, map[string]*result{}
	var build []string
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
			r = &result{order: len(into)}
			into[key] = r
		}
		switch e.Action {
		case "run", "start":
			if r.action != "pass" && r.action != "skip" && len(r.output) > 0 {
				r.first = append(r.first, r.output...)
			}
			r.action, r.output = "", nil
		case "output":
			r.output = append(r.output, e.Output)
		case "pass", "fail", "skip":
			r.action, r.elapsed = e.Action, e.Elapsed
		}
	}
	return run{tests, packages, build}
}

func tell(all run, table string, complaints []string) int {
	tests, packages, build := all.tests, all.packages, all.build
	count := map[string]int{}
	var failed, skipped, tables, shaky []string
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
		case "pass":
			if len(r.first) > 0 {
				shaky = append(shaky, name)
			}
		}
		if strings.HasSuffix(name, "Table") { // tables of results that people want to see
			tables = append(tables, name)
		}
	}
	for _, name := range shaky { // its cause is seen only now
		fmt.Printf("failed beside others, passed alone: %s\n%s", name, strings.Join(noise(tests[name].first), ""))
	}
	var broken []string
	for name, r := range packages {
		if r.action == "pass" && len(r.first) > 0 {
			fmt.Printf("failed beside others, passed alone: %s\n%s", name, strings.Join(r.first, ""))
		}
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
	bad := len(failed) + len(broken) + len(complaints)
	for _, name := range skipped {
		why := strings.TrimSpace(strings.Join(noise(tests[name].output), " "))
		fmt.Printf("skipped %s: %s\n", name, why)
		if os.Getenv("CI") == "true" && !mayskip.MatchString(why) {
			fmt.Println("  in CI everything is installed, so this suite was expected to run")
			bad++
		}
	}
	if table != "" {
		fmt.Printf("\nConformance of every provider with every network:\n\n%s\n(%s)\n\n", table, conformance(tests).times())
	}
	for _, c := range complaints {
		fmt.Println(c)
	}
	fmt.Printf("slowest packages: %s\nslowest tests: %s\n", slowest(packages, 5), slowest(all.innermost(), 10))
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

// innermost are the tests without those that only hold others.
func (r run) innermost() map[string]*result {
	holds := map[string]bool{}
	for name := range r.tests {
		for at := strings.LastIndexByte(name, '/'); at > strings.IndexByte(name, ' '); at = strings.LastIndexByte(name[:at], '/') {
			holds[name[:at]] = true
		}
	}
	out := map[string]*result{}
	for name, t := range r.tests {
		if !holds[name] {
			out[name] = t
		}
	}
	return out
}

// slowest names those that took longest.
func slowest(of map[string]*result, n int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b].elapsed, of[a].elapsed), cmp.Compare(a, b))
	})
	var out []string
	for _, name := range names[:min(n, len(names))] {
		out = append(out, fmt.Sprintf("%s %.1f s", strings.TrimPrefix(name, "archetype/"), of[name].elapsed))
	}
	return strings.Join(out, ", ")
}
