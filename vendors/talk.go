package vendors

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// settle is how long nothing may follow what looks like a prompt before it
	// is taken for one: a line comes in pieces.
	settle = 200 * time.Millisecond
	// maxLine bounds a line that is looked at, in bytes. Of a longer one its end counts.
	maxLine = 4096
	// maxTimes is how often a step is done that does not say.
	maxTimes = 20
)

// Facts are what stands for a node's own in the texts of its kind.
type Facts struct {
	Hostname string `json:"hostname"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Config   string `json:"config,omitempty"`

	secrets []string // of variables that are called as secrets are
}

// FactsOf are those of a node of the kind. What the node's variables USERNAME
// and PASSWORD say counts more than what the kind does.
func FactsOf(k *Kind, hostname, config string, env map[string]string) Facts {
	f := Facts{Hostname: hostname, Config: config}
	if k != nil && k.VM != nil {
		f.Username, f.Password = k.VM.Credentials.Username, k.VM.Credentials.Password
	}
	if v := env["USERNAME"]; v != "" {
		f.Username = v
	}
	if v := env["PASSWORD"]; v != "" {
		f.Password = v
	}
	for name, value := range env {
		if secretName.MatchString(name) && len(value) >= leastSecret {
			f.secrets = append(f.secrets, value)
		}
	}
	slices.SortFunc(f.secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	return f
}

// secretName is how variables are called whose values are not to be told.
var secretName = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|(^|_)key$`)

// leastSecret is how long such a value is at least: a shorter one is no secret
// but a word such as "exit".
const leastSecret = 8

// Fill puts the facts into a text: {hostname}, {username}, {password}, {config},
// and {config|base64} for places that hold one line.
func (f Facts) Fill(text string) string {
	return strings.NewReplacer("{config|base64}", base64.StdEncoding.EncodeToString([]byte(f.Config)), "{hostname}", f.Hostname, "{username}", f.Username, "{password}", f.Password, "{config}", f.Config).Replace(text)
}

// Seed puts the facts into a text of a seed. A line in it with {management} is
// there once where the node has that interface, a line with {interface} once for
// each of its others; {mac} in such a line is that interface's address.
func (f Facts) Seed(text string, management *SeedInterface, others []SeedInterface) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		which, of := "", []SeedInterface(nil)
		switch {
		case strings.Contains(line, "{interface}"):
			which, of = "{interface}", others
		case strings.Contains(line, "{management}"):
			if which = "{management}"; management != nil {
				of = []SeedInterface{*management}
			}
		default:
			out.WriteString(line)
		}
		for _, i := range of {
			out.WriteString(strings.NewReplacer(which, i.Name, "{mac}", i.MAC).Replace(line))
		}
	}
	return f.Fill(out.String())
}

// SeedInterface is an interface of which a seed speaks.
type SeedInterface struct{ Name, MAC string }

// Hide takes what is secret out of a text that is to be shown: the password,
// unless everybody knows it since it is the user's name, and lines of the
// configuration, which may have secrets in them.
func (f Facts) Hide(text string) string {
	if f.Password != "" && f.Password != f.Username {
		text = strings.ReplaceAll(text, f.Password, "(password)")
	}
	for _, s := range f.secrets {
		text = strings.ReplaceAll(text, s, "(secret)")
	}
	for line := range strings.Lines(f.Config) {
		if line = strings.TrimSpace(line); len(line) >= leastSecret && strings.Contains(text, line) {
			text = strings.ReplaceAll(text, line, "(configuration)")
		}
	}
	return text
}

// Talk is the conversation with a device over its serial line while it boots:
// it takes in what the device says, in whatever pieces it comes, and says what
// to answer by the kind's dialogue. It does no I/O and keeps no more than a
// line. The zero value is not usable.
type Talk struct {
	steps   []talkStep
	facts   Facts
	line    []byte // what stands on the line and has no end yet
	looked  bool   // it has been standing there, and was handed out
	heard   time.Time
	pending int // step whose whole line was seen, -1: none
}

type talkStep struct {
	Step
	expect *pattern
	lines  []string // what is sent line by line
	done   int
}

// NewTalk begins the conversation of a boot.
func NewTalk(k *Kind, facts Facts, now time.Time) *Talk {
	t := &Talk{facts: facts, heard: now, pending: -1}
	for _, s := range k.Dialogue {
		x := talkStep{Step: s}
		if s.Expect != "" {
			x.expect = compile(standing(s.Expect))
		}
		for line := range strings.Lines(facts.Fill(s.Lines)) {
			if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
				x.lines = append(x.lines, line)
			}
		}
		t.steps = append(t.steps, x)
	}
	return t
}

// standing is an expression for what stands at the end of a line.
func standing(expr string) string { return "(?:" + expr + `)\s*$` }

// left reports whether the step may be done once more.
func (s *talkStep) left() bool {
	if s.Lines != "" {
		return s.done < len(s.lines)
	}
	if s.Times > 0 {
		return s.done < s.Times
	}
	return s.done < maxTimes
}

// Hear takes in what the device says and returns the lines that have ended.
func (t *Talk) Hear(b []byte, now time.Time) (ended []string) {
	t.heard = now
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			t.add(b)
			return ended
		}
		t.add(b[:i])
		b = b[i+1:]
		line := string(t.line)
		t.line, t.looked = t.line[:0], false
		ended = append(ended, line)
		if at := t.match(line, true); at >= 0 {
			t.pending = at
		}
	}
	return ended
}

func (t *Talk) add(b []byte) {
	if len(b) == 0 {
		return
	}
	t.looked = false
	if t.line = append(t.line, b...); len(t.line) > maxLine {
		t.line = append(t.line[:0], t.line[len(t.line)-maxLine:]...)
	}
}

// match finds the step for a line, -1 for none.
func (t *Talk) match(line string, whole bool) int {
	text := ""
	for i := range t.steps {
		s := &t.steps[i]
		if s.expect == nil || s.Line != whole || !s.left() {
			continue
		}
		if text == "" {
			if text = Clean(line); text == "" {
				return -1
			}
		}
		if s.expect.match(text) {
			return i
		}
	}
	return -1
}

// Answer is what is to be sent to the device.
type Answer struct {
	Send []byte
	Step Step
	Text string // the line that it answers, without what is secret
	step int
}

// Next says what to send now, if anything, and otherwise for how long it need
// not be asked again as long as nothing is heard; 0 means for ever.
func (t *Talk) Next(now time.Time) (a *Answer, wait time.Duration) {
	silent := now.Sub(t.heard)
	if silent < settle {
		return nil, settle - silent
	}
	if at := t.match(string(t.line), false); at >= 0 {
		return t.answer(at, string(t.line)), 0
	}
	if t.pending >= 0 && t.steps[t.pending].left() {
		return t.answer(t.pending, ""), 0
	}
	for i := range t.steps {
		s := &t.steps[i]
		if s.Quiet == 0 || !s.left() {
			continue
		}
		if left := time.Duration(s.Quiet) - silent; left <= 0 {
			return t.answer(i, ""), 0
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

func (t *Talk) answer(at int, line string) *Answer {
	s := t.steps[at]
	text := t.facts.Fill(s.Send)
	if s.Lines != "" {
		text = s.lines[s.done]
	}
	if !s.Raw {
		text += "\r"
	}
	return &Answer{Send: []byte(text), Step: s.Step, Text: short(t.facts.Hide(Clean(line))), step: at}
}

// Sent notes that an answer has been given. It reports whether the step is
// complete: one that sends several lines is only with its last.
func (t *Talk) Sent(a *Answer, now time.Time) (complete bool) {
	s := &t.steps[a.step]
	s.done++
	t.pending, t.heard = -1, now
	t.line, t.looked = t.line[:0], true // what comes next answers the answer
	return s.Lines == "" || s.done == len(s.lines)
}

// Forget drops what was to be answered since its line was seen: somebody else
// is talking to the device.
func (t *Talk) Forget() { t.pending = -1 }

// Standing is what stands on the line without an end and is taken for all
// that comes; fresh is true once for each.
func (t *Talk) Standing(now time.Time) (line string, fresh bool) {
	if t.looked || len(t.line) == 0 || now.Sub(t.heard) < settle {
		return Clean(string(t.line)), false
	}
	t.looked = true
	return Clean(string(t.line)), true
}

// Spent are the steps that were done as often as they may be and whose line
// is standing there still: a boot that comes no further may be for them.
func (t *Talk) Spent() (expect string, times int) {
	text := Clean(string(t.line))
	for _, s := range t.steps {
		if s.expect != nil && !s.Line && s.Lines == "" && !s.left() && text != "" && s.expect.match(text) {
			return s.Expect, s.done
		}
	}
	return "", 0
}
