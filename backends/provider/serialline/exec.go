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
		if res.Code, err = number(text); err != nil {
			return res, err
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

// number is the exit code in an answer. What the device logs on its line
// meanwhile stands beside it.
func number(text []byte) (int, error) {
	var all []int
	for line := range bytes.Lines(text) {
		if n, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil {
			all = append(all, n)
		}
	}
	if len(all) != 1 {
		return 0, fmt.Errorf("the exit code of the command is not to be had: %q", text)
	}
	return all[0], nil
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
		heard, err := c.hear(ctx)
		if err != nil {
			return err
		}
		if !heard {
			if err := c.line.write([]byte("\r")); err != nil {
				return err
			}
		}
	}
	for _, s := range c.how.Setup {
		if _, err := c.command(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// hear takes more in; it reports whether there was something within a while.
func (c *conversation) hear(ctx context.Context) (bool, error) {
	t := time.NewTimer(nudge)
	defer t.Stop()
	select {
	case b := <-c.heard:
		// What is for a terminal is no text: colours, questions.
		c.raw = append(c.raw, b...)
		if i := bytes.LastIndexByte(c.raw, 0x1b); i >= 0 && len(c.raw)-i < longestEscape && !finished(c.raw[i:]) {
			c.buf, c.raw = append(c.buf, ansi.Strip(string(c.raw[:i]))...), c.raw[i:]
		} else {
			c.buf, c.raw = append(c.buf, ansi.Strip(string(c.raw))...), nil
		}
		return true, nil
	case <-t.C:
		return false, nil
	case <-ctx.Done():
		return false, errors.Join(fmt.Errorf("waited for its prompt; the line ends with %q", c.facts.Hide(tail(c.buf))), ctx.Err())
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
	shown := bytes.TrimSpace(c.buf[bytes.LastIndexByte(c.buf, '\n')+1:]) // the prompt as it stands there
	c.buf = nil
	if err := c.line.write([]byte(text + "\r")); err != nil {
		return nil, err
	}
	echo := []byte(text[:min(len(text), 16)])
	logged, until := -1, 0 // where what the device logs has followed the prompt
	for {
		at := bytes.Index(c.buf, echo) // what comes before answers an earlier nudge
		i := bytes.IndexByte(c.buf[max(at, 0):], '\n')
		if at < 0 || i < 0 {
			if _, err := c.hear(ctx); err != nil {
				return nil, err
			}
			continue
		}
		// A shell that edits its line leaves a carriage return where what the command says begins.
		rest := bytes.TrimLeft(c.buf[at+i+1:], "\r")
		if m := c.prompt.FindIndex(rest); m != nil {
			out := rest[:m[0]]
			switch j := bytes.LastIndexByte(out, '\n'); {
			case logged >= 0 && until <= m[0] && len(bytes.TrimSpace(rest[until:m[0]])) == 0:
				out = out[:logged]
			case j >= 0:
				out = out[:j+1] // the prompt's own line goes with it
			default:
				out = nil
			}
			return bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")), nil
		}
		heard, err := c.hear(ctx)
		if err != nil {
			return nil, err
		}
		// Silence, and the prompt was there: it is shown again for the asking.
		if !heard && logged < 0 && len(shown) > 0 {
			if logged, until = lineWith(rest, shown), len(rest); logged >= 0 {
				if err := c.line.write([]byte("\r")); err != nil {
					return nil, err
				}
			}
		}
	}
}

// lineWith is where the last line begins that begins with a text, -1 for none.
func lineWith(all, text []byte) int {
	if i := bytes.LastIndex(all, append([]byte("\n"), text...)); i >= 0 {
		return i + 1
	}
	if bytes.HasPrefix(all, text) {
		return 0
	}
	return -1
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
