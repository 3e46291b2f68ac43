package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// metrics are what a benchmark of the packages reports, by its name.
type metrics map[string]map[string]float64

// benchmarks runs benchmarks of a package once each.
func (b *bench) benchmarks(pkg, pattern string) (metrics, []string, error) {
	out, err := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "1x", "-timeout", "20m", pkg).CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s", err, out)
	}
	all := metrics{}
	var names []string
	for line := range strings.SplitSeq(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				values[f[i+1]] = v
			}
		}
		all[name], names = values, append(names, name)
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("nothing was measured: %s", out)
	}
	return all, names, nil
}

func (m metrics) ms(name, metric string) time.Duration {
	return time.Duration(m[name][metric] * float64(time.Millisecond))
}

// hot measures what a device sees of a cable that is cut and joined. The
// yardstick is veth's: there is nothing in between.
func (b *bench) hot() error {
	m, names, err := b.benchmarks("./backends/conformance", "^BenchmarkHot$")
	if err != nil {
		return err
	}
	for _, what := range []struct{ metric, text string }{
		{"connect", "hot connect until the first frame passes"}, {"disconnect", "hot disconnect until it is done"}} {
		for _, name := range names {
			network := strings.TrimPrefix(name, "Hot/")
			p50, p99 := m.ms(name, what.metric+"-p50-ms"), m.ms(name, what.metric+"-p99-ms")
			least := m.ms("Hot/veth", what.metric+"-p50-ms")
			b.row(what.text+", "+network, ms(p50)+", 99th "+ms(p99), ms(least)+" veth", ratio(p50, least), "")
		}
	}
	return nil
}

// swaps measures the gap of each link that moves to another network.
func (b *bench) swaps() error {
	m, names, err := b.benchmarks("./backends/conformance", "^BenchmarkSwap$")
	if err != nil {
		return err
	}
	for _, name := range names {
		p50, p99 := m.ms(name, "gap-p50-ms"), m.ms(name, "gap-p99-ms")
		b.row("swap of 100 links, gap per link, "+strings.ReplaceAll(strings.TrimPrefix(name, "Swap/"), "-", " "),
			ms(p50)+", 99th "+ms(p99), "1 s, one ping", ratio(p50, time.Second), goal("no ping lost", p99 <= time.Second))
	}
	return nil
}

// ports measures how fast ports come to be on a switch, against a process of
// ovs-vsctl per port.
func (b *bench) ports() error {
	m, names, err := b.benchmarks("./backends/network/ovs", "^BenchmarkPorts$")
	if err != nil {
		return err
	}
	for _, name := range names {
		f := strings.Split(name, "/") // Ports/Connect/ports=200/at-once=8
		if len(f) != 4 || f[1] != "Connect" {
			continue
		}
		ours, theirs := m[name]["ports/s"], m["Ports/ovs-vsctl/"+f[2]]["ports/s"]
		b.row(fmt.Sprintf("ovs: %s ports wired, %s", strings.TrimPrefix(f[2], "ports="), strings.Replace(f[3], "at-once=", "at once ", 1)),
			fmt.Sprintf("%.0f a second", ours), fmt.Sprintf("%.0f a second, ovs-vsctl per port, sampled", theirs), fmt.Sprintf("%.1f times faster", ours/theirs),
			goal("faster", ours > theirs))
	}
	return nil
}
