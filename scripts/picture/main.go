// Command picture renders the workbench for the README: it runs the program
// that was built on the first lab, looks at its screen and writes that as SVG.
//
//	picture PROGRAM LAB OUT.svg
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

const (
	columns, rows = 118, 36
	patience      = 60 * time.Second
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: picture PROGRAM LAB OUT.svg")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(program, lab, out string) (err error) {
	if program, err = filepath.Abs(program); err != nil {
		return err
	}
	home, err := os.MkdirTemp("/tmp", "picture-")
	if err != nil {
		return err
	}
	env := append(os.Environ(), "ARCHETYPE_HOME="+home, "ARCHETYPE_ROOTLESS=1", "TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8", "LC_ALL=", "NO_COLOR=", "TMUX=", "TZ=UTC")
	defer func() {
		end := exec.Command(program, "destroy", lab, "--yes")
		end.Env = env
		if msg, derr := end.CombinedOutput(); derr != nil {
			err = errors.Join(err, fmt.Errorf("destroy: %w: %s", derr, msg))
		}
		err = errors.Join(err, os.RemoveAll(home))
	}()
	cmd := exec.Command(program, lab)
	cmd.Env = env
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		return err
	}
	s := &screen{em: vt.NewEmulator(columns, rows), tty: tty}
	go func() { _, _ = io.Copy(tty, s.em) }() // answers to the program's questions
	go s.follow()
	defer func() {
		_ = cmd.Process.Kill() // the lab goes on running; it is destroyed above
		_ = cmd.Wait()
		_ = tty.Close()
	}()
	if err := pose(s); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return os.WriteFile(out, []byte(svg(s.em)), 0o644)
}

// pose brings the lab into a state that shows what there is: a cable is cut,
// a packet goes its way, and a console lies beside the lab.
func pose(s *screen) error {
	for _, step := range []struct{ keys, sees string }{
		{"", "6/6 running"},
		{":info pc2\r", "identifier"},
		{"q", "q quit"},
		{"x", "4/5 links up"},
		{":info pc1\r", "identifier"},
		{"q", "q quit"},
		{"t", "root@pc1"},
		{"ping -c 3 pc3\r", "rtt min"},
	} {
		if _, err := io.WriteString(s.tty, step.keys); err != nil {
			return err
		}
		if err := s.sees(step.sees); err != nil {
			return err
		}
	}
	return s.sees("ctrl+] q back") // messages have given way to the keys
}

type screen struct {
	mu  sync.Mutex
	em  *vt.Emulator
	tty *os.File
}

func (s *screen) follow() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		_, _ = s.em.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until the text is on the screen.
func (s *screen) sees(text string) error {
	deadline := time.Now().Add(patience)
	for {
		s.mu.Lock()
		now := s.em.String()
		s.mu.Unlock()
		switch {
		case strings.Contains(now, text):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%q did not come up; the screen was:\n%s", text, now)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
