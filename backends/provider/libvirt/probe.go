package libvirt

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"archetype/backends"
	"archetype/backends/reach"
	failpoint "archetype/internal/fail"
)

// forwarded is a port of this machine that leads to one of the device's, as
// long as its emulator lives.
type forwarded struct {
	Boot uint64 `json:"boot"`
	Port int    `json:"port"`
}

// Probe tries a port of the device through its management interface.
func (p *Provider) Probe(ctx context.Context, ref backends.NodeRef, probe backends.Probe) error {
	return fail(ref, p.probe(ctx, ref, probe))
}

func (p *Provider) probe(ctx context.Context, ref backends.NodeRef, probe backends.Probe) error {
	inner := probe.Port
	if inner == 0 {
		inner = reach.SSHPort
	}
	port, err := p.wayTo(ctx, ref, inner)
	if err != nil {
		return err
	}
	if probe.SSH {
		probe.Port = port
		return reach.Try(ctx, "127.0.0.1", probe)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	// The emulator takes the connection before it asks the device: what counts
	// is what comes of that.
	for {
		states, err := p.usernet(ctx, ref, port)
		if err != nil {
			return err
		}
		if strings.Contains(states, "ESTABLISHED") {
			return nil
		}
		if !strings.Contains(states, "SYN_SENT") {
			return fmt.Errorf("port %d is closed (%w)", inner, backends.ErrUnavailable)
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return fmt.Errorf("port %d: no answer: %w", inner, ctx.Err())
		}
	}
}

// monitor asks the emulator in the language for people.
func (p *Provider) monitor(ctx context.Context, ref backends.NodeRef, command string) (text string, err error) {
	err = p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		dom, err := p.lookup(lv, ref)
		if err != nil {
			return err
		}
		const human = 1
		text, err = lv.QEMUDomainMonitorCommand(dom, command, human)
		return err
	})
	return text, err
}

// usernet is what becomes of connections to a forwarded port, in words.
func (p *Provider) usernet(ctx context.Context, ref backends.NodeRef, port int) (states string, err error) {
	text, err := p.monitor(ctx, ref, "info usernet")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == strconv.Itoa(port) && !strings.Contains(f[0], "HOST_FORWARD") {
			states += f[0] + " "
		}
	}
	return states, err
}

// wayTo is the port of this machine that leads to one of the device's.
func (p *Provider) wayTo(ctx context.Context, ref backends.NodeRef, inner int) (int, error) {
	defer p.lock(backends.NodeRef{Lab: ref.Lab, Node: ref.Node + "\x00ways"})()
	k, err := p.running(ctx, ref)
	if err != nil {
		return 0, err
	}
	if !k.VM.Management {
		return 0, fmt.Errorf("its kind has no management interface (%w)", backends.ErrUnsupported)
	}
	if have := k.Ways[inner]; have.Boot == k.Boot {
		return have.Port, nil
	}
	port, err := p.forward(ctx, ref, inner)
	if err != nil {
		return 0, err
	}
	return port, p.change(ref, func(now *kept) {
		if now.Ways == nil {
			now.Ways = map[int]forwarded{}
		}
		now.Ways[inner] = forwarded{Boot: k.Boot, Port: port}
	})
}

// forward leads a free port of this machine to one of the device's. Whoever
// takes it first has it, so others are tried.
func (p *Provider) forward(ctx context.Context, ref backends.NodeRef, inner int) (int, error) {
	const tries = 5
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		var said string
		err = failpoint.Around("domain.forward", func() (err error) {
			said, err = p.monitor(ctx, ref, fmt.Sprintf("hostfwd_add hostnet0 tcp:127.0.0.1:%d-:%d", port, inner))
			return err
		})
		said = strings.TrimSpace(said)
		switch {
		case err != nil:
			return 0, fmt.Errorf("the way to its port %d: %w", inner, err)
		case said == "":
			return port, nil
		case try == tries:
			return 0, fmt.Errorf("the way to its port %d: %s (%w)", inner, said, backends.ErrUnavailable)
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
