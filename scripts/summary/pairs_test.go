package main

import (
	"os"
	"testing"
)

func TestEachPairInOneCell(t *testing.T) {
	table := "| case | a × x | a × y | b × x | b × y |\n| --- | --- | --- | --- | --- |\n" +
		"| one | pass | – [1] | pass | FAIL |\n| two | pass | pass | pass | pass |\n\n4 pairs\n\n[1] not possible with y: why\n"
	want := "| 2 cases | x | y |\n| --- | --- | --- |\n| a | 2 pass | 1 pass |\n| b | 2 pass | 1 pass |\n"
	if got := short(tableBegins + "\n" + table + tableEnds); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := short("nothing"); got != "" {
		t.Errorf("of no table: %s", got)
	}
}

// The README counts what the table of all cases says.
func TestTheReadmeSaysTheSame(t *testing.T) {
	all, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, changed, err := fit(string(readme), short(string(all))); err != nil || changed {
		t.Errorf("README.md has another table than docs/conformance.md: run make conformance (%v)", err)
	}
}
