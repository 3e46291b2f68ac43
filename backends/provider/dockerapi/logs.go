package dockerapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// Logs reads what the node's init said. With Follow it goes on over restarts.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	cli, id, err := p.container(ctx, p.node(ref))
	if err != nil {
		return nil, p.fail("node "+ref.Node, err)
	}
	at, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, p.fail("node "+ref.Node, err)
	}
	req := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: opt.Follow}
	if opt.Lines > 0 {
		req.Tail = strconv.Itoa(opt.Lines)
	}
	if opt.Boot {
		req.Since = bootSince(at.Container.State)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{p: p, cli: cli, ref: ref}
	if opt.Follow { // listening before reading, so that no start is missed
		if err := f.listen(ctx); err != nil {
			cancel()
			return nil, p.fail("node "+ref.Node, err)
		}
	}
	stream, err := cli.ContainerLogs(ctx, id, req)
	if err != nil {
		cancel()
		return nil, p.fail("node "+ref.Node, err)
	}
	r, w := io.Pipe()
	go func() {
		defer cancel()
		err := f.run(ctx, stream, at.Container.Config.Tty, w, opt.Follow)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		w.CloseWithError(err) // nil is the end
	}()
	return &logReader{PipeReader: r, cancel: cancel}, nil
}

// noted is how long an engine may take to note that a container has started.
const noted = time.Second

// bootSince is from when on a log is of the latest boot. The engine notes its
// beginning when the init runs already, and may have said something, on a machine
// that is busy long before: so it is the end of the boot before or, where there was
// none or its end is not known, a little earlier.
func bootSince(s *container.State) string {
	if s == nil {
		return ""
	}
	started, err := time.Parse(time.RFC3339Nano, s.StartedAt)
	if err != nil || started.Year() <= 1 {
		return ""
	}
	from := started.Add(-noted)
	if before, err := time.Parse(time.RFC3339Nano, s.FinishedAt); err == nil && before.Year() > 1 && before.Before(started) {
		from = before
	}
	return from.Format(time.RFC3339Nano)
}

type logReader struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (l *logReader) Close() error {
	l.cancel()
	return l.PipeReader.Close()
}

// follower goes from one run of a node to the next.
type follower struct {
	p      *Provider
	cli    *client.Client
	ref    backends.NodeRef
	events client.EventsResult
}

// listen subscribes to the node's starts and its end.
func (f *follower) listen(ctx context.Context) error {
	if _, err := f.cli.Ping(ctx, client.PingOptions{}); err != nil {
		return err
	}
	filter := f.p.filter(f.ref).Add("type", string(events.ContainerEventType)).
		Add("event", string(events.ActionStart)).Add("event", string(events.ActionDestroy))
	for a := range f.p.cfg.Actions {
		filter.Add("event", string(a))
	}
	f.events = f.cli.Events(ctx, client.EventsListOptions{Filters: filter})
	return nil
}

func (f *follower) run(ctx context.Context, stream io.ReadCloser, tty bool, w io.Writer, follow bool) error {
	for {
		err := copyLog(w, stream, tty)
		_ = stream.Close()
		if err != nil || !follow {
			return err
		}
		id, err := f.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil // the node is gone
		}
		if err != nil {
			return err
		}
		at, err := f.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return f.p.fail("node "+f.ref.Node, err)
		}
		stream, err = f.cli.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true,
			Since: bootSince(at.Container.State)})
		if err != nil {
			return f.p.fail("node "+f.ref.Node, err)
		}
	}
}

// next waits for a start after the one whose log has just been read to its
// end, and returns the container's ID.
func (f *follower) next(ctx context.Context) (string, error) {
	for {
		select {
		case m := <-f.events.Messages:
			// Not every engine wants all labels of a filter to be there.
			if a := m.Actor.Attributes; a[labelLab] != f.ref.Lab || a[labelNode] != f.ref.Node {
				continue
			}
			switch f.p.action(m) {
			case events.ActionStart:
				return m.Actor.ID, nil
			case events.ActionDestroy:
				if n := f.p.peek(f.ref); n == nil {
					return "", io.EOF
				}
			}
		case err := <-f.events.Err:
			if err == nil {
				err = io.EOF
			}
			return "", fmt.Errorf("node %s: its log cannot be followed any more: %w", f.ref.Node, err)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// copyLog brings both streams of a log together, in lines that end as text
// does and not as a terminal wants it.
func copyLog(w io.Writer, r io.Reader, tty bool) error {
	if !tty {
		_, err := stdcopy.StdCopy(w, w, r)
		return err
	}
	_, err := io.Copy(&plain{w: w}, r)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// plain takes the carriage return out of line ends.
type plain struct {
	w    io.Writer
	held bool // a carriage return that may belong to a line end
}

func (p *plain) Write(b []byte) (int, error) {
	text := string(b)
	if p.held {
		text = "\r" + text
	}
	if p.held = strings.HasSuffix(text, "\r"); p.held {
		text = text[:len(text)-1]
	}
	_, err := io.Copy(p.w, bytes.NewReader([]byte(strings.ReplaceAll(text, "\r\n", "\n"))))
	return len(b), err
}
