package libvirt

import (
	"context"
	"fmt"

	golibvirt "github.com/digitalocean/go-libvirt"

	"archetype/backends"
)

// observe reports whether a node's machine is on.
func (p *Provider) observe(ctx context.Context, ref backends.NodeRef) (is bool, err error) {
	err = p.conn.do(ctx, func(lv *golibvirt.Libvirt) (err error) {
		is, err = p.isOn(lv, ref)
		return err
	})
	return is, err
}

// Exec runs a command as the kind says: over the serial line or SSH.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	k, err := p.running(ctx, ref)
	if err != nil {
		return backends.ExecResult{}, err
	}
	switch k.VM.Exec.Method {
	case "ssh":
		return p.overSSH(ctx, ref, k, req)
	case "serial":
		return p.overSerial(ctx, ref, k, req)
	}
	return backends.ExecResult{}, fmt.Errorf("node %s: its kind does not say how a command is run in it (%w)", ref.Node, backends.ErrUnsupported)
}
