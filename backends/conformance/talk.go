package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"archetype/backends"
	"archetype/backends/conformance/probe"
)

// talk is a command that runs in a node and hands requests to its device: one
// for all requests, since starting one takes its time.
type talk struct {
	mu  sync.Mutex
	in  *io.PipeWriter
	out *json.Decoder
	end context.CancelFunc
}

// talk sends a request to a node's device and waits for the answer.
func (s *suite) talk(ctx context.Context, node string, req probe.Request, rep *probe.Reply) error {
	s.mu.Lock()
	t := s.talks[node]
	if t == nil {
		t = s.call(node)
		s.talks[node] = t
	}
	s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	defer context.AfterFunc(ctx, t.end)()
	line, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err = t.in.Write(append(line, '\n')); err == nil {
		err = t.out.Decode(rep)
	}
	if err != nil {
		s.hangUp(node)
	}
	return err
}

// call starts the command in the node.
func (s *suite) call(node string) *talk {
	ctx, cancel := context.WithCancel(context.Background())
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go func() {
		err := s.exec(ctx, node, inR, outW)
		_ = inR.CloseWithError(err)
		_ = outW.CloseWithError(err)
	}()
	return &talk{in: inW, out: json.NewDecoder(outR), end: func() {
		cancel()
		_ = inW.CloseWithError(errors.New("hung up"))
		_ = outR.CloseWithError(errors.New("hung up"))
	}}
}

// hangUp ends the talks with nodes: they are about to stop.
func (s *suite) hangUp(nodes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, node := range nodes {
		if t := s.talks[node]; t != nil {
			t.end()
			delete(s.talks, node)
		}
	}
}

// exec runs the device's command until it ends, which it does by an error.
func (s *suite) exec(ctx context.Context, node string, in io.Reader, out io.Writer) error {
	if m := s.env.Machine; m != nil {
		return m.Ask(ctx, s.ref(node), in, out)
	}
	res, err := s.env.Provider.Exec(ctx, s.ref(node), backends.ExecRequest{Command: []string{s.command, "ask"}, Stdin: in, Stdout: out})
	if err == nil {
		err = fmt.Errorf("the command ended with code %d: %s", res.Code, res.Stderr)
	}
	return err
}
