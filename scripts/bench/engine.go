package main

import (
	"fmt"
	"time"
)

// engine measures the engine over simulated nodes: what it stores a second,
// against bare commits of the same database on the same disk, and what a lab
// costs in which nothing is to be done, against the smallest of them.
func (b *bench) engine() error {
	bare, _, err := b.benchmarks("./store", "^BenchmarkCommit$")
	if err != nil {
		return err
	}
	m, _, err := b.benchmarks("./engine", "^Benchmark(Deploy|Rest)$")
	if err != nil {
		return err
	}
	commits := bare["Commit"]["commits/s"]
	for _, nodes := range []string{"100", "1000", "10000"} {
		d := m["Deploy/"+nodes]
		b.row("transitions stored durably, deploy of "+nodes+" simulated nodes", fmt.Sprintf("%.0f a second", d["transitions/s"]),
			fmt.Sprintf("%.0f bare commits a second", commits), fmt.Sprintf("%.1f", d["transitions/s"]/commits), "")
	}
	least := m["Rest/100"]["round-us"]
	for _, nodes := range []string{"100", "1000", "10000"} {
		r := m["Rest/"+nodes]
		b.row("a round with nothing to do, "+nodes+" nodes", fmt.Sprintf("%.0f µs, %.0f keys", r["round-us"], r["keys"]),
			fmt.Sprintf("%.0f µs with 100", least), fmt.Sprintf("%.1f", r["round-us"]/least), goal("no keys", r["keys"] == 0))
	}
	for _, nodes := range []string{"100", "1000", "10000"} {
		r := m["Rest/"+nodes]
		look := time.Duration(r["look-us"] * float64(time.Microsecond))
		b.row("a full look at "+nodes+" nodes, once a minute", ms(look), "a minute", fmt.Sprintf("%.5f", look.Minutes()), "")
	}
	b.row("memory of an engine with 10000 simulated nodes and links", fmt.Sprintf("%.0f MB", m["Deploy/10000"]["MB"]), "", "", "")
	return nil
}
