package netns

import (
	"context"
	"fmt"

	"archetype/backends"
)

var _ backends.Sweeper = (*Provider)(nil)

// Unused implements backends.Sweeper: holders that are out of reach.
func (p *Provider) Unused(ctx context.Context, labName string) (out []backends.Spare, _ error) {
	if labName != "" { // whose nodes they hold cannot be asked
		return nil, nil
	}
	lost, err := p.cfg.Holder.Lost(ctx)
	for _, pid := range lost {
		out = append(out, backends.Spare{Type: "holder", Name: fmt.Sprint(pid)})
	}
	return out, err
}

// Sweep implements backends.Sweeper.
func (p *Provider) Sweep(ctx context.Context, s backends.Spare) error {
	var pid int
	if _, err := fmt.Sscan(s.Name, &pid); err != nil {
		return err
	}
	return p.cfg.Holder.End(ctx, pid)
}
