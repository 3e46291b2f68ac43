package serialline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/vendors"
)

// conversation is one over the serial line, of which there is one at a time
// for commands: everybody hears the same answers.
type conversation struct {
	line   *Line
	how    vendors.VMExec
	facts  vendors.Facts
	heard  chan []byte
	raw    []byte // the beginning of an escape sequence
	buf    []byte
	prompt *regexp.Regexp
	login  []question
}

type question struct {
	vendors.Step
	expect *regexp.Regexp
	asked  int
}

// hush is how long nobody may have typed before a command is.
const hush = 10 * time.Second

// hush waits until a person who types on the line pauses.
func (l *Line) hush(ctx context.Context) error {
	for {
		taken, ago := l.isTaken()
		if !taken || ago >= hush {
			return nil
		}
		select {
		case <-time.After(hush - ago):
		case <-ctx.Done():
			return errors.Join(ErrTaken, ctx.Err())
		}
	}
}

// nudge is how long a line may be silent before it is sent an empty command.
const nudge = 2 * time.Second

// Exec runs a command on the line, logging in where that is asked for.
func (l *Line) Exec(ctx context.Context, how vendors.VMExec, facts vendors.Facts, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	if req.Stdin != nil {
		return res, fmt.Errorf("a command over the serial line has no input (%w)", backends.ErrUnsupported)
	}
	if err := l.hush(ctx); err != nil {
		return res, err
	}
	l.command.Lock()
	defer l.command.Unlock()
	c := &conversation{line: l, how: how, facts: facts, heard: make(chan []byte)}
	var err error
	if c.prompt, err = regexp.Compile("(?:" + how.Prompt + `)\s*$`); err != nil {
		return res, err
	}
	for _, s := range how.Login {
		if s.Expect == "" {
			continue
		}
		re, err := regexp.Compile("(?:" + s.Expect + `)\s*$`)
		if err != nil {
			return res, err
		}
		c.login = append(c.login, question{Step: s, expect: re})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var from int64
	if st, err := os.Stat(filepath.Join(l.dir, Record)); err == nil {
		from = st.Size()
	}
	r, err := l.Read(ctx, logfile.Options{From: from, Follow: true})
	if err != nil {
		return res, err
	}
	defer func() { _ = r.Close() }()
	go c.listen(ctx, r)
	if err := c.begin(ctx); err != nil {
		return res, err
	}
	out, err := c.command(ctx, CommandLine(req, how.Quote))
	if err != nil {
		return res, err
	}
	if s := how.Status; s != "" {
		text, err := c.command(ctx, s)
		if err != nil {
			return res, err
		}
		if res.Code, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return res, fmt.Errorf("the exit code of the command is not to be had: %q", text)
		}
	} else if f := how.Failed; f != "" {
		if ok, _ := regexp.Match("(?m)"+f, out); ok {
			res.Code = 1
		}
	}
	if req.Stdout != nil {
		_, err := req.Stdout.Write(out)
		return res, err
	}
	res.Stdout = out
	return res, nil
}

func (c *conversation) listen(ctx context.Context, r io.Reader) {
	for {
		b := make([]byte, 4096)
		n, err := r.Read(b)
		if n > 0 {
			select {
			case c.heard <- b[:n]:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// begin comes to the prompt, answering what is asked before it.
func (c *conversation) begin(ctx context.Context) error {
	if err := c.line.write([]byte("\r")); err != nil {
		return err
	}
	for !c.prompt.Match(c.buf) {
		answered := false
		for i := range c.login {
			q := &c.login[i]
			if q.asked < max(q.Times, 3) && q.expect.Match(c.buf) {
				q.asked++
				c.buf = nil
				if err := c.line.write([]byte(c.facts.Fill(q.Send) + "\r")); err != nil {
					return err
				}
				answered = true
				break
			}
		}
		if answered {
			continue
		}
		if err := c.hear(ctx, true); err != nil {
			return err
		}
	}
	for _, s := range c.how.Setup {
		if _, err := c.command(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// hear takes more in; when the line is silent it may be nudged.
func (c *conversation) hear(ctx context.Context, push bool) error {
	t := time.NewTimer(nudge)
	defer t.Stop()
	for {
		select {
		case b := <-c.heard:
			// What is for a terminal is no text: colours, questions.
			c.raw = append(c.raw, b...)
			if i := bytes.LastIndexByte(c.raw, 0x1b); i >= 0 && len(c.raw)-i < longestEscape && !finished(c.raw[i:]) {
				c.buf, c.raw = append(c.buf, ansi.Strip(string(c.raw[:i]))...), c.raw[i:]
			} else {
				c.buf, c.raw = append(c.buf, ansi.Strip(string(c.raw))...), nil
			}
			return nil
		case <-t.C:
			if push {
				if err := c.line.write([]byte("\r")); err != nil {
					return err
				}
			}
			t.Reset(nudge)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited for its prompt; the line ends with %q", c.facts.Hide(tail(c.buf))), ctx.Err())
		}
	}
}

// longestEscape bounds what is waited for as one sequence, in bytes.
const longestEscape = 32

// finished reports whether an escape sequence has its last letter.
func finished(b []byte) bool {
	for i, c := range b[1:] {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '@' && c <= '~' {
			return true
		}
	}
	return false
}

func tail(b []byte) string {
	const most = 200
	return vendors.Clean(string(b[max(0, len(b)-most):]))
}

// command sends one and returns what was said before the next prompt. The
// first line is the command itself, which the device repeats.
func (c *conversation) command(ctx context.Context, text string) ([]byte, error) {
	c.buf = nil
	if err := c.line.write([]byte(text + "\r")); err != nil {
		return nil, err
	}
	echo := []byte(text[:min(len(text), 16)])
	for {
		at := bytes.Index(c.buf, echo) // what comes before answers an earlier nudge
		if i := bytes.IndexByte(c.buf[max(at, 0):], '\n'); at >= 0 && i >= 0 {
			rest := c.buf[at+i+1:]
			if m := c.prompt.FindIndex(rest); m != nil {
				out := rest[:m[0]]
				if j := bytes.LastIndexByte(out, '\n'); j >= 0 {
					out = out[:j+1] // the prompt's own line goes with it
				} else {
					out = nil
				}
				return bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")), nil
			}
		}
		if err := c.hear(ctx, false); err != nil {
			return nil, err
		}
	}
}

// CommandLine is a command in one line: its words, quoted as a shell wants
// them where there is one.
func CommandLine(req backends.ExecRequest, quote bool) string {
	words := make([]string, 0, len(req.Command)+len(req.Env))
	if !quote {
		return strings.Join(req.Command, " ")
	}
	for _, e := range req.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+shellWord(value))
	}
	for _, w := range req.Command {
		words = append(words, shellWord(w))
	}
	text := strings.Join(words, " ")
	if req.Dir != "" {
		text = "cd " + shellWord(req.Dir) + " && " + text
	}
	return text
}

func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if w != "" && strings.TrimFunc(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
