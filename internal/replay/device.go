// Package replay is a stand-in, for tests alone, for virtual machines of
// vendors whose images cannot be had: it plays a composed boot dialogue over a
// serial line like libvirt's and checks what is answered.
//
// A dialogue is a text file of our own making. Each line is a directive:
//
//	say TEXT       says a line; alone, an empty one
//	prompt TEXT    says TEXT and leaves the line open; quotes keep blanks
//	answer TEXT    waits for TEXT and return, and repeats it as devices do
//	secret TEXT    the same, without repeating it
//	key TEXT       waits for exactly these bytes, without return
//	pause SPAN     says nothing for a while, such as 300ms
//	slow TEXT      says a line in pieces of a few bytes
//	garbage N      says N bytes of noise, with the beginnings of escape sequences
//	reboot         forgets what was typed, as a machine does that begins again
//	open PORT      serves a TCP port from here on
//	silent         must not be typed at for the rest, whatever it says
//
// A prompt that is answered with return alone is said again. # begins a comment.
package replay

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// directive is a line of a dialogue.
type directive struct {
	line       int
	verb, text string
}

// Dialogue is one to be played.
type Dialogue struct {
	File  string
	steps []directive
}

// Read reads a dialogue.
func Read(file string) (*Dialogue, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	d := &Dialogue{File: file}
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		verb, text, _ := strings.Cut(line, " ")
		if strings.HasPrefix(text, `"`) {
			if text, err = strconv.Unquote(text); err != nil {
				return nil, fmt.Errorf("%s:%d: %s: %w", file, n, line, err)
			}
		}
		switch verb {
		case "say", "prompt", "answer", "secret", "key", "slow", "reboot", "silent":
		case "pause":
			_, err = time.ParseDuration(text)
		case "garbage", "open":
			_, err = strconv.Atoi(text)
		default:
			err = fmt.Errorf("there is no directive %q", verb)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		d.steps = append(d.steps, directive{n, verb, text})
	}
	return d, s.Err()
}

// device plays a dialogue over a socket, with a record of all it says.
type device struct {
	d      *Dialogue
	l      net.Listener
	record *os.File
	typed  chan byte
	end    chan struct{}
	over   chan struct{} // closed when the dialogue was played, or went wrong

	mu     sync.Mutex
	conns  map[net.Conn]bool
	ports  map[int]bool
	prompt string
	err    error
}

// boot begins to play.
func boot(d *Dialogue, socket, record string) (*device, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	v := &device{d: d, l: l, record: f, typed: make(chan byte, 4096), end: make(chan struct{}), over: make(chan struct{}),
		conns: map[net.Conn]bool{}, ports: map[int]bool{}}
	go v.accept()
	go v.play()
	return v, nil
}

func (v *device) accept() {
	for {
		c, err := v.l.Accept()
		if err != nil {
			return
		}
		v.mu.Lock()
		v.conns[c] = true
		v.mu.Unlock()
		go func() {
			b := make([]byte, 256)
			for {
				n, err := c.Read(b)
				for _, x := range b[:n] {
					select {
					case v.typed <- x:
					case <-v.end:
						return
					}
				}
				if err != nil {
					v.mu.Lock()
					delete(v.conns, c)
					v.mu.Unlock()
					_ = c.Close()
					return
				}
			}
		}()
	}
}

// off pulls the plug.
func (v *device) off() {
	select {
	case <-v.end:
		return
	default:
	}
	close(v.end)
	_ = v.l.Close()
	v.mu.Lock()
	for c := range v.conns {
		_ = c.Close()
	}
	v.mu.Unlock()
	<-v.over
	_ = v.record.Close()
}

func (v *device) serves(port int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ports[port]
}

func (v *device) write(text string) {
	_, _ = v.record.WriteString(text)
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		_, _ = c.Write([]byte(text))
	}
}

func (v *device) play() {
	defer close(v.over)
	for _, s := range v.d.steps {
		if err := v.step(s); err != nil {
			v.mu.Lock()
			v.err = fmt.Errorf("%s:%d: %s %s: %w", v.d.File, s.line, s.verb, s.text, err)
			v.mu.Unlock()
			return
		}
	}
}

// result says what has gone wrong, nil while nothing has.
func (v *device) result() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

var errOff = errors.New("it was switched off before that")

func (v *device) step(s directive) error {
	switch s.verb {
	case "say":
		v.write(s.text + "\r\n")
	case "prompt":
		v.prompt = s.text
		v.write(s.text)
	case "answer", "secret":
		return v.answer(s)
	case "key":
		for i := range len(s.text) {
			b, err := v.take()
			if err != nil {
				return err
			}
			if b != s.text[i] {
				return fmt.Errorf("the key was %q", b)
			}
		}
	case "pause":
		d, _ := time.ParseDuration(s.text)
		return v.pause(d)
	case "slow":
		for rest := s.text + "\r\n"; rest != ""; {
			n := min(3, len(rest))
			v.write(rest[:n])
			rest = rest[n:]
			if err := v.pause(time.Millisecond); err != nil {
				return err
			}
		}
	case "garbage":
		n, _ := strconv.Atoi(s.text)
		r := rand.New(rand.NewPCG(uint64(n), 7)) //nolint:gosec // the same each time
		noise := []string{"\x00", "\xff", "\x1b[", "\x1b[2J", "\x1b]", "\x07", "\r", "\x08", "~", "\xc3"}
		for range n {
			v.write(noise[r.IntN(len(noise))])
		}
		v.write("\x1b\\\x1b[0m\r\n")
	case "reboot":
		for {
			select {
			case <-v.typed:
				continue
			default:
			}
			break
		}
	case "open":
		n, _ := strconv.Atoi(s.text)
		v.mu.Lock()
		v.ports[n] = true
		v.mu.Unlock()
	case "silent":
		select {
		case b := <-v.typed:
			return fmt.Errorf("%q was typed", b)
		case <-v.end:
		}
	}
	return nil
}

func (v *device) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-v.end:
		return errOff
	}
}

func (v *device) take() (byte, error) {
	select {
	case b := <-v.typed:
		return b, nil
	case <-v.end:
		return 0, errOff
	}
}

// answer waits for a line and compares it.
func (v *device) answer(s directive) error {
	var got strings.Builder
	for {
		b, err := v.take()
		switch {
		case err != nil && got.Len() > 0:
			return fmt.Errorf("%w; what was typed is %q", err, got.String())
		case err != nil:
			return err
		case b == '\n':
			continue
		case b != '\r':
			got.WriteByte(b)
			if s.verb == "answer" {
				v.write(string(rune(b)))
			}
			continue
		}
		v.write("\r\n")
		if got.Len() == 0 && s.text != "" { // somebody wanted to see the prompt
			v.write(v.prompt)
			continue
		}
		if got.String() != s.text {
			return fmt.Errorf("the answer was %q", got.String())
		}
		return nil
	}
}
