package dockerapi

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// Stats asks the engine what every running node consumes.
func (p *Provider) Stats(ctx context.Context, labName string) ([]backends.NodeStats, error) {
	if p.cfg.Uncounted {
		return nil, nil
	}
	cli, err := p.Client()
	if err != nil {
		if errors.Is(err, backends.ErrUnavailable) {
			return nil, nil // there can be no nodes
		}
		return nil, err
	}
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{Filters: p.filter(backends.NodeRef{Lab: labName})})
	if client.IsErrConnectionFailed(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.fail("list containers", err)
	}
	found := make([]*backends.NodeStats, len(list.Items))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, item := range list.Items {
		ref := backends.NodeRef{Lab: item.Labels[labelLab], Node: item.Labels[labelNode]}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			found[i] = consumes(ctx, cli, ref, item.ID)
		}()
	}
	wg.Wait()
	var out []backends.NodeStats
	for _, st := range found {
		if st != nil {
			out = append(out, *st)
		}
	}
	return out, ctx.Err()
}

// consumes is nil when the container has just ended.
func consumes(ctx context.Context, cli *client.Client, ref backends.NodeRef, id string) *backends.NodeStats {
	res, err := cli.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var st container.StatsResponse
	if json.NewDecoder(res.Body).Decode(&st) != nil {
		return nil
	}
	// What the kernel only keeps in case it is read again is no consumption.
	cache := st.MemoryStats.Stats["total_inactive_file"]
	if v, ok := st.MemoryStats.Stats["inactive_file"]; ok && cache == 0 {
		cache = v
	}
	memory := st.MemoryStats.Usage
	if cache < memory {
		memory -= cache
	}
	return &backends.NodeStats{Ref: ref, CPU: time.Duration(st.CPUStats.CPUUsage.TotalUsage), Memory: memory,
		Processes: int(st.PidsStats.Current)}
}
