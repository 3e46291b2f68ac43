package main

import (
	"fmt"
	"os"
	"strings"
)

// containers compares a deploy and a destroy with what the engine itself takes
// for the same containers and, where CONTAINERLAB names that program, with
// containerlab, on the engine of this machine's release and on today's.
func (b *bench) containers() error {
	if os.Getenv("CONTAINERLAB") == "" {
		fmt.Fprintln(os.Stderr, "containerlab: not measured: CONTAINERLAB names no program")
	}
	if err := os.Setenv("ARCHETYPE", b.program); err != nil {
		return err
	}
	m, names, err := b.benchmarks("./scripts/bench/beside", "^BenchmarkContainers$")
	if err != nil {
		return err
	}
	for _, name := range names {
		what := strings.ReplaceAll(strings.TrimPrefix(name, "Containers/"), "/", ", ")
		for _, verb := range []string{"deploy", "destroy"} {
			for _, which := range []struct{ metric, text string }{{verb + "-ms", "best"}, {verb + "-median-ms", "median"}} {
				text := fmt.Sprintf("%s of containers in a network, %s, %s", verb, what, which.text)
				ours, engine := m.ms(name, "ours-"+which.metric), m.ms(name, "engine-"+which.metric)
				b.row(text, ms(ours), ms(engine)+" the engine alone", ratio(ours, engine), "")
				if theirs := m.ms(name, "theirs-"+which.metric); theirs > 0 {
					b.row(text, ms(ours), ms(theirs)+" containerlab", ratio(ours, theirs), goal("at most 0.5", 2*ours <= theirs))
				}
			}
		}
	}
	return nil
}
