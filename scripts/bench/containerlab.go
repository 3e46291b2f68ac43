package main

import (
	"fmt"
	"os"
	"strings"
)

// containerlab compares a deploy and a destroy of the same file, on the same
// engine, with the program that CONTAINERLAB names; without one there is
// nothing to measure.
func (b *bench) containerlab() error {
	if os.Getenv("CONTAINERLAB") == "" {
		fmt.Fprintln(os.Stderr, "containerlab: not measured: CONTAINERLAB names no program")
		return nil
	}
	if err := os.Setenv("ARCHETYPE", b.program); err != nil {
		return err
	}
	m, names, err := b.benchmarks("./scripts/bench/beside", "^BenchmarkContainerlab$")
	if err != nil {
		return err
	}
	for _, name := range names {
		size := strings.ReplaceAll(strings.TrimPrefix(name, "Containerlab/"), "/", ", ")
		for _, verb := range []string{"deploy", "destroy"} {
			ours, theirs := m.ms(name, "ours-"+verb+"-ms"), m.ms(name, "theirs-"+verb+"-ms")
			b.row(verb+" of containers, "+size, ms(ours), ms(theirs)+" containerlab", ratio(ours, theirs), goal("at most 0.5", 2*ours <= theirs))
		}
	}
	return nil
}
