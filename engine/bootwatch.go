package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"archetype/backends"
	"archetype/backends/reach"
	"archetype/vendors"
)

// bootWatch is one watch over one boot: it reads what the device says, answers
// it as its kind says, tries it, and tells how far it has come.
type bootWatch struct {
	provider backends.Provider
	ref      backends.NodeRef
	kind     *vendors.Kind
	facts    vendors.Facts
	address  string // in the management network, empty where it has none
	timeout  time.Duration
	report   func(bootReport)

	boot   *vendors.Boot
	talk   *vendors.Talk
	last   []string // the latest lines as they came, for the error that explains
	tried  string   // how the latest try of it ended
	hushed bool     // somebody types on its console
}

// typing is said on a node whose dialogue waits for a person.
const typing = "somebody types on its console: what its boot asks is not answered meanwhile"

func (w *bootWatch) run(ctx context.Context) {
	w.boot = vendors.NewBoot(w.kind)
	if w.boot.Ready() || w.kind.Readiness.Probe == "health" {
		w.report(bootReport{percent: 100, ready: true})
		return
	}
	w.talk = vendors.NewTalk(w.kind, w.facts, time.Now())
	heard := make(chan []byte)
	go w.listen(ctx, heard)
	try, tries := w.try(), make(chan error, 1)
	var again <-chan time.Time
	begun := false
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		if try != nil && !begun && w.boot.Due() {
			begun, again = true, time.After(0)
		}
		select {
		case b := <-heard:
			for _, line := range w.talk.Hear(b, time.Now()) {
				w.complain(line)
				w.said(line)
			}
			look.Reset(0)
		case <-look.C:
			if wait := w.speak(ctx); wait > 0 {
				look.Reset(wait)
			}
		case <-again:
			again = nil
			go func() { tries <- try(ctx) }()
		case err := <-tries:
			if err == nil {
				w.report(bootReport{percent: 100, text: w.facts.Hide(w.boot.Text()), line: w.facts.Hide(w.boot.Earned()), ready: true})
				return
			}
			w.tried = reason(err)
			again = time.After(w.interval())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				w.report(bootReport{err: w.late()})
			}
			return
		}
		if w.boot.Ready() {
			return
		}
	}
}

// said takes in a line, or what stands on one.
func (w *bootWatch) said(line string) {
	w.remember(line)
	if w.boot.Line(line) || w.boot.Ready() {
		w.tell()
	}
}

// complain tells of a command of the file that failed, where the node runs them
// itself and says so.
func (w *bootWatch) complain(line string) {
	if p, ok := w.provider.(backends.Commander); ok {
		if what, failed := p.FailedCommand(strings.TrimSpace(vendors.Clean(line))); failed {
			w.report(bootReport{failed: w.facts.Hide(what)})
		}
	}
}

func (w *bootWatch) note(text string) {
	w.report(bootReport{percent: w.boot.Percent(), text: w.facts.Hide(text), line: w.facts.Hide(w.boot.Earned()), note: true})
}

func (w *bootWatch) tell() {
	w.report(bootReport{percent: w.boot.Percent(), text: w.facts.Hide(w.boot.Text()), line: w.facts.Hide(w.boot.Earned()), ready: w.boot.Ready()})
}

// speak answers what the device asks, and says when to look again though
// nothing was heard; 0: not.
func (w *bootWatch) speak(ctx context.Context) time.Duration {
	now := time.Now()
	if line, fresh := w.talk.Standing(now); fresh {
		if w.said(line); w.boot.Ready() {
			return 0
		}
	}
	a, wait := w.talk.Next(now)
	speaker, ok := w.provider.(backends.Speaker)
	if a == nil || !ok {
		return wait
	}
	switch err := speaker.Say(ctx, w.ref, a.Send); {
	case errors.Is(err, backends.ErrConflict):
		w.talk.Forget()
		if !w.hushed {
			w.hushed = true
			w.note(typing)
		}
		return probeInterval
	case err != nil: // it may not listen yet, or not any more
		w.tried = reason(err)
		return probeInterval
	}
	if w.hushed {
		w.hushed = false
		w.note(w.boot.Text())
	}
	if !w.talk.Sent(a, now) {
		return probeInterval
	}
	earned := w.boot.Earn(a.Step.Percent, a.Step.Message, a.Text)
	if a.Step.Ready && w.kind.Readiness.Probe == "dialogue" {
		w.boot.Finish(a.Text)
	}
	if earned || w.boot.Ready() {
		w.tell()
	}
	return probeInterval
}

// listen hands on what is said in this boot, and looks for it again when the
// stream ends early.
func (w *bootWatch) listen(ctx context.Context, heard chan<- []byte) {
	for {
		r, err := w.provider.Logs(ctx, w.ref, backends.LogOptions{Follow: true, Boot: true})
		for err == nil {
			b := make([]byte, 16<<10)
			var n int
			n, err = r.Read(b)
			if n == 0 {
				continue
			}
			select {
			case heard <- b[:n]:
			case <-ctx.Done():
				_ = r.Close()
				return
			}
		}
		if r != nil {
			_ = r.Close()
		}
		if errors.Is(err, backends.ErrUnsupported) || !pause(ctx, probeInterval) {
			return
		}
	}
}

func (w *bootWatch) interval() time.Duration {
	if every := time.Duration(w.kind.Readiness.Interval); every > 0 {
		return every
	}
	return probeInterval
}

// patience is for one try of a port or a login.
const tryPatience = 15 * time.Second

// try is what finds out whether the device is up; nil where its log says so.
func (w *bootWatch) try() func(context.Context) error {
	r := w.kind.Readiness
	switch r.Probe {
	case "command":
		return w.command
	case "tcp", "ssh":
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, tryPatience)
			defer cancel()
			p := backends.Probe{Port: r.Port, SSH: r.Probe == "ssh", Username: w.facts.Username, Password: w.facts.Password}
			if x, ok := w.provider.(backends.Prober); ok {
				return x.Probe(ctx, w.ref, p)
			}
			if w.address == "" {
				return fmt.Errorf("it has no management address (%w)", backends.ErrUnavailable)
			}
			return reach.Try(ctx, w.address, p)
		}
	}
	return nil
}

// command runs the kind's readiness command once.
func (w *bootWatch) command(ctx context.Context) error {
	r := w.kind.Readiness
	if s, ok := w.provider.(backends.Speaker); ok {
		if err := s.Say(ctx, w.ref, nil); errors.Is(err, backends.ErrConflict) {
			return err
		}
	}
	res, err := w.provider.Exec(ctx, w.ref, backends.ExecRequest{Command: r.Command})
	if err != nil {
		return err
	}
	said := lastLine(w.facts.Hide(string(res.Stdout) + "\n" + string(res.Stderr)))
	if res.Code != 0 {
		return fmt.Errorf("exit code %d: %s", res.Code, said)
	}
	if r.Pattern != "" {
		if want, err := regexp.Compile(r.Pattern); err == nil && !want.Match(res.Stdout) {
			return fmt.Errorf("what it says does not match %q: %s", r.Pattern, said)
		}
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return vendors.Clean(lines[len(lines)-1])
}

const (
	// keepLines is how many of the latest lines explain a boot that did not end.
	keepLines = 3
	// keepRaw is how many are kept to find that many among them: some are empty.
	keepRaw = 32
)

func (w *bootWatch) remember(line string) {
	if len(w.last) == keepRaw {
		w.last = append(w.last[:0], w.last[keepRaw/2:]...)
	}
	w.last = append(w.last, line)
}

// latest are the latest lines that can be seen.
func (w *bootWatch) latest() (out []string) {
	for i := len(w.last) - 1; i >= 0 && len(out) < keepLines; i-- {
		line := strings.TrimSpace(vendors.Clean(w.last[i]))
		if most := 120; len(line) > most {
			line = strings.ToValidUTF8(line[:most], "") + "…"
		}
		if line != "" {
			out = append([]string{line}, out...)
		}
	}
	return out
}

// late explains a boot that did not end in time.
func (w *bootWatch) late() error {
	r := w.kind.Readiness
	var want string
	switch r.Probe {
	case "command":
		want = "its command to succeed: " + strings.Join(r.Command, " ")
	case "tcp":
		want = fmt.Sprintf("its port %d to take a connection", r.Port)
	case "ssh":
		want = "a login over SSH to succeed"
	case "dialogue":
		want = "the last step of its dialogue"
	default:
		want = fmt.Sprintf("a log line that matches %q", r.Pattern)
	}
	var more string
	if !w.boot.Due() {
		more = fmt.Sprintf(", and before that for a line that matches %q", r.After)
	} else if w.tried != "" {
		more = " (the latest try: " + w.tried + ")"
	}
	if p := w.boot.Percent(); p > 0 {
		more += fmt.Sprintf("; it came to %d%%, %s", p, w.facts.Hide(w.boot.Text()))
	}
	if expect, times := w.talk.Spent(); expect != "" {
		more += fmt.Sprintf("; what asks %q was answered %d times, which is as often as its kind says", expect, times)
	}
	if w.hushed {
		more += "; " + typing
	}
	said := "its log is empty"
	if last := w.latest(); len(last) > 0 {
		said = "its log ends with: " + w.facts.Hide(strings.Join(last, " / "))
	}
	return fmt.Errorf("not ready in time, within %s: waited for %s%s; %s", w.timeout, want, more, said)
}
