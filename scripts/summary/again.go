package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// again tells what is to be run once more: a line for each package that
// failed, with a pattern of the tests that failed in it and of no test
// beside them. The pattern is empty where the package failed without a test
// (it did not build, or ended at once), and where it ended in the middle of one,
// so that those after it were never begun.
func (r run) again() string {
	failed := map[string][]string{}
	for name, p := range r.packages {
		if p.action == "fail" {
			failed[name] = nil
		}
	}
	for name, t := range r.tests {
		if t.action == "pass" || t.action == "skip" || r.inside(name) {
			continue
		}
		pkg, test, _ := strings.Cut(name, " ")
		if p := r.packages[pkg]; p == nil || !slices.Contains(p.output, "FAIL\n") {
			continue // it did not get to its end
		}
		steps := strings.Split(test, "/")
		for i, s := range steps {
			steps[i] = "^" + regexp.QuoteMeta(s) + "$"
		}
		failed[pkg] = append(failed[pkg], strings.Join(steps, "/"))
	}
	var out strings.Builder
	for _, pkg := range slices.Sorted(maps.Keys(failed)) {
		patterns := failed[pkg]
		slices.Sort(patterns)
		fmt.Fprintln(&out, strings.TrimSpace(pkg+" "+strings.Join(patterns, "|")))
	}
	return out.String()
}

// inside says whether a test below this one failed as well.
func (r run) inside(name string) bool {
	for other, t := range r.tests {
		if t.action != "pass" && t.action != "skip" && strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}
