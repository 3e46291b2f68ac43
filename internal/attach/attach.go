// Package attach joins the user's own terminal to a console.
package attach

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/signal"

	"github.com/muesli/cancelreader"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"archetype/backends"
	"archetype/engine/api"
)

// Attach joins this terminal to a node's console until the console ends or
// the key is pressed, and leaves the terminal as it was. What is typed after
// the key is left for whoever reads next.
func Attach(ctx context.Context, e api.Engine, labName, node string, key byte) error {
	in := int(os.Stdin.Fd())
	size := func() backends.Size {
		cols, rows, err := term.GetSize(in)
		if err != nil {
			return backends.Size{Cols: 80, Rows: 24}
		}
		return backends.Size{Cols: cols, Rows: rows}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	con, err := e.Console(ctx, labName, node, size())
	if err != nil {
		return err
	}
	defer func() { _ = con.Close() }()
	stdin, err := cancelreader.NewReader(os.Stdin)
	if err != nil {
		return err
	}
	defer func() { _ = stdin.Close() }()
	old, err := term.MakeRaw(in)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(in, old) }()
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, unix.SIGWINCH)
	defer signal.Stop(winch)
	_ = con.Resize(size()) // it may have changed since the console was opened
	go func() {
		for {
			select {
			case <-winch:
				_ = con.Resize(size())
			case <-ctx.Done():
				return
			}
		}
	}()
	typed := make(chan struct{})
	go func() {
		defer close(typed)
		defer func() { _ = con.Close() }()
		buf := make([]byte, 1024)
		for {
			n, err := stdin.Read(buf)
			if err != nil {
				return
			}
			before, _, left := bytes.Cut(buf[:n], []byte{key})
			if _, err := con.Write(before); err != nil || left {
				return
			}
		}
	}()
	_, err = io.Copy(os.Stdout, con) // however it ends, the console is over
	if stdin.Cancel() {
		<-typed
	}
	if api.CodeOf(err) == api.CodeLost {
		return err
	}
	return nil
}
