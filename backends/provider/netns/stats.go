package netns

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"archetype/backends"
)

// userHZ is the unit of CPU times in /proc, the same on every Linux that Go
// runs on; see proc(5).
const userHZ = 100

// Stats reads /proc once for the whole lab: a process belongs to the node
// whose process namespace it is in.
func (p *Provider) Stats(ctx context.Context, lab string) ([]backends.NodeStats, error) {
	nodes, err := p.cfg.Holder.List(ctx, lab)
	if err != nil {
		return nil, err
	}
	out := make([]backends.NodeStats, 0, len(nodes))
	byNS := map[string]int{}
	for _, n := range nodes {
		if n.PID == 0 {
			continue
		}
		ns, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(n.PID), "ns/pid"))
		if err != nil {
			continue // it has just ended
		}
		byNS[ns] = len(out)
		out = append(out, backends.NodeStats{Ref: n.Ref})
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	page := uint64(os.Getpagesize())
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		ns, err := os.Readlink(filepath.Join("/proc", name, "ns/pid"))
		if err != nil {
			continue
		}
		i, ours := byNS[ns]
		if !ours {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", name, "stat"))
		if err != nil {
			continue
		}
		// The name may contain anything; the rest begins after its last ')'.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 22 {
			continue
		}
		field := func(n int) uint64 { // as numbered in proc(5)
			v, _ := strconv.ParseUint(string(fields[n-3]), 10, 64)
			return v
		}
		ticks := field(14) + field(15) + field(16) + field(17) // with children that ended
		out[i].CPU += time.Duration(ticks) * time.Second / userHZ
		out[i].Memory += field(24) * page
		out[i].Processes++
	}
	return out, nil
}
