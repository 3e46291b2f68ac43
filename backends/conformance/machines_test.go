package conformance_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"archetype/backends"
	"archetype/backends/conformance"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/guest"
)

const (
	inMachine = "/usr/bin/probe"
	nics      = 6 // two of the ring, and as many as a case needs
)

// machines is a place for virtual machines. Their system starts the device in
// the background; its requests go over the serial line.
func machines(t *testing.T) *conformance.Env {
	d := libvirttest.Start(t)
	var script strings.Builder
	for i := nics; i > 0; i-- {
		fmt.Fprintf(&script, "ip link set eth%d name eth%d\nip link set eth%d up promisc on\n", i-1, i, i)
	}
	script.WriteString(inMachine + " node eth1 eth2 &\n")
	kind := libvirttest.Build(t, d.Dir, script.String(), nil, guest.File{Path: inMachine, Mode: 0o755, Source: conformance.Device(t)}).Kind(t, "machine", "")
	h, labs := newHolder(t)
	p := d.Provider()
	return &conformance.Env{Provider: p, Panel: h.Panel(), Device: inMachine, Switches: newEmbedded(t, h, false, labs),
		Machine: &conformance.Machine{Interfaces: nics, Ask: asker(p)},
		Prepare: func(c *backends.NodeConfig) {
			c.Kind = p.Adapt(kind)
			c.Node.Kind, c.Node.Entrypoint, c.Node.Cmd = kind.Name, "", ""
		},
		Things: func() []string {
			out, _ := filepath.Glob(filepath.Join(d.Dir, "home*", "labs", "*", "*"))
			all, _ := net.Interfaces()
			for _, i := range all { // taps and what stands for them
				if strings.HasPrefix(i.Name, p.Prefix()) || strings.HasPrefix(i.Name, "l"+p.Prefix()[1:]) {
					out = append(out, "interface "+i.Name)
				}
			}
			return append(out, d.Domains()...)
		}}
}

// asker runs the device's command on a node's serial line.
func asker(p backends.Provider) func(context.Context, backends.NodeRef, io.Reader, io.Writer) error {
	var calls atomic.Int64
	return func(ctx context.Context, ref backends.NodeRef, in io.Reader, out io.Writer) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		c, err := p.Console(ctx, ref, backends.Size{})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		begin := fmt.Sprintf("asking-%d", calls.Add(1))
		// Half of the word in quotes, so that the line's echo is not it. What
		// is no request ends a command of an earlier call.
		if _, err := fmt.Fprintf(c, "!\rstty raw -echo; echo ask''%s; %s ask; stty sane\r", begin[3:], inMachine); err != nil {
			return err
		}
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return errors.Join(errors.New("the serial line ended"), err)
			}
			if strings.Contains(line, begin) {
				break
			}
		}
		go func() {
			_, _ = io.Copy(c, in)
			_, _ = io.WriteString(c, "!\n")
			cancel()
		}()
		_, err = io.Copy(out, r)
		return errors.Join(errors.New("the serial line ended"), err)
	}
}
