package main

import (
	"fmt"
	"strings"
	"time"
)

// machines measures the deploy of small virtual machines against a shell that
// starts the same emulators, and how soon a cable of a running one is in use.
func (b *bench) machines() error {
	m, _, err := b.benchmarks("./e2e", "^BenchmarkMachines$")
	if err != nil {
		return err
	}
	v := m["Machines"]
	seconds := func(name string) time.Duration { return time.Duration(v[name] * float64(time.Second)) }
	share := v["cpu-s"] / (v["cpu-s"] + v["machines-cpu-s"])
	b.row("10 virtual machines, deploy until all are ready", ms(seconds("ours-s")), ms(seconds("loop-s"))+" the same QEMU from a shell's loop", ratio(seconds("ours-s"), seconds("loop-s")), "")
	b.row("the program's share of the processors meanwhile", ms(seconds("cpu-s")), ms(seconds("machines-cpu-s"))+" the machines", fmt.Sprintf("%.3f", share), goal("0.05", share <= 0.05))
	m, names, err := b.benchmarks("./backends/conformance", "^BenchmarkHotMachine$")
	if err != nil {
		return err
	}
	least := m.ms("HotMachine/veth", "connect-p50-ms")
	for _, name := range names {
		p50, p99 := m.ms(name, "connect-p50-ms"), m.ms(name, "connect-p99-ms")
		b.row("hot connect of a machine until it answers, "+strings.TrimPrefix(name, "HotMachine/"), ms(p50)+", 99th "+ms(p99), ms(least)+" veth", ratio(p50, least), "")
	}
	return b.streams()
}

// streams measures what it costs to watch machines that never stop talking,
// against grep with the same patterns.
func (b *bench) streams() error {
	m, _, err := b.benchmarks("./engine", "^BenchmarkStreams$")
	if err != nil {
		return err
	}
	s := m["Streams"]
	b.row("watch 50 serial lines of 1 MB/s each, all bytes there", fmt.Sprintf("%.1f ms a MB: %.0f%% of a processor at %.0f MB/s, %.0f MB, %.0f ms behind at the end", s["cpu-ms/MB"], s["cpu-percent"], s["MB/s"], s["MB"], s["lag-ms"]),
		fmt.Sprintf("%.1f ms a MB, grep", s["grep-ms/MB"]), fmt.Sprintf("%.1f", s["cpu-ms/MB"]/s["grep-ms/MB"]), "")
	return nil
}
