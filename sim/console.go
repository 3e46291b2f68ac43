package sim

import (
	"context"
	"fmt"
	"io"

	"archetype/backends"
)

// Console opens a prompt that says what it is and answers nothing else.
func (p *Provider) Console(_ context.Context, ref backends.NodeRef, _ backends.Size) (backends.Console, error) {
	r, w := io.Pipe()
	c := &console{PipeReader: r, out: w, keys: make(chan byte, 256), name: ref.Node}
	go c.run()
	return c, nil
}

type console struct {
	*io.PipeReader
	out  *io.PipeWriter
	keys chan byte
	name string
}

func (c *console) run() {
	prompt := c.name + " (simulated)# "
	if _, err := fmt.Fprintf(c.out, "This node is simulated: nothing runs behind this prompt.\r\n%s", prompt); err != nil {
		return
	}
	for key := range c.keys {
		out := string(rune(key))
		switch key {
		case '\r', '\n':
			out = "\r\n" + prompt
		case 4: // ctrl+d
			_ = c.out.Close()
			return
		}
		if _, err := io.WriteString(c.out, out); err != nil {
			return
		}
	}
}

func (c *console) Write(b []byte) (int, error) {
	for _, key := range b {
		if key >= ' ' && key < 0x7f || key == '\r' || key == '\n' || key == 4 {
			select {
			case c.keys <- key:
			default: // nobody types that fast
			}
		}
	}
	return len(b), nil
}

func (c *console) Close() error {
	_ = c.out.Close()
	return c.PipeReader.Close()
}

// Resize has no effect.
func (c *console) Resize(backends.Size) error { return nil }
