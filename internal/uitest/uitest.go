// Package uitest drives the real program in a terminal of its own, as a user
// would: it presses keys and waits for what the screen shows.
package uitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Setup is how the program is started.
type Setup struct {
	Size string            // columns x rows, such as 120x34, which is the default
	Env  map[string]string // besides what every story has; an empty value takes one away
	File string            // topology file; empty: none is opened
	Home *Home             // of a user who was here before; nil: a new one
	Deaf bool              // whoever has started it tells nobody when the terminal goes
}

// Home is a folder of the program's own: its settings, labs and engine.
type Home struct {
	Dir     string
	program string
}

// User sits in front of the program.
type User struct {
	t      testing.TB
	Home   *Home
	server string // of tmux
	raw    string // file of all that the program wrote
	marks  int    // how often that was read
}

// patience is how long a screen may stand still without showing what is waited
// for. It is long, as the machine may be busy, and is used up only by a failure;
// one that goes on changing may take several times as long.
const (
	patience = 60 * time.Second
	most     = 5 * patience
)

// look is how often the screen is looked at meanwhile, and seldom how often when
// that has gone on for long: looking keeps a busy machine from getting anywhere.
const (
	look   = 15 * time.Millisecond
	seldom = 10 * look
)

var built string // the folder of the program

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "archetype-build-")
	if err != nil {
		return "", err
	}
	built = dir
	out := filepath.Join(dir, "archetype")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "fault", "-o", out, "archetype")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, msg)
	}
	return out, nil
})

// Cleanup removes the program that was built; call it from TestMain.
func Cleanup() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

// NewHome makes a home whose labs and processes end with the test. It skips
// the test where the program or the terminal cannot run.
func NewHome(t testing.TB) *Home {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs tmux")
	}
	if err := exec.Command("unshare", "-Urn", "true").Run(); err != nil {
		t.Skip("needs user namespaces: ", err)
	}
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "at-") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	h := &Home{dir, program}
	t.Cleanup(func() { h.end(t) })
	return h
}

// Command is a run of the program in this home, without a screen.
func (h *Home) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(h.program, args...)
	cmd.Env = append(os.Environ(), "ARCHETYPE_HOME="+h.Dir, "ARCHETYPE_ROOTLESS=1")
	return cmd
}

// Labs are the labs that are deployed, with their states.
func (h *Home) Labs(t testing.TB) map[string]string {
	t.Helper()
	out, err := h.Command("inspect", "--json").Output()
	if err != nil {
		t.Fatalf("inspect: %v", err)
	}
	var labs []struct{ Name, State string }
	if err := json.Unmarshal(out, &labs); err != nil {
		t.Fatalf("inspect: %v: %s", err, out)
	}
	states := map[string]string{}
	for _, l := range labs {
		states[l.Name] = l.State
	}
	return states
}

func (h *Home) end(t testing.TB) {
	for name := range h.Labs(t) {
		if out, err := h.Command("destroy", name, "--yes").CombinedOutput(); err != nil {
			t.Errorf("destroy %s: %v: %s", name, err, out)
		}
	}
	h.deserted(t)
	if err := os.RemoveAll(h.Dir); err != nil {
		t.Error(err)
	}
}

// deserted waits until nothing runs any more that was started with this home.
func (h *Home) deserted(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for left := h.processes(); len(left) > 0; left = h.processes() {
		if time.Now().After(deadline) {
			t.Errorf("processes are left: %v", left)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			break
		}
		time.Sleep(look)
	}
}

// PID is that of the home's one process whose command line has the words, 0
// where none runs.
func (h *Home) PID(words string) int {
	for _, pid := range h.processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(strings.ReplaceAll(string(line), "\x00", " "), words) {
			return pid
		}
	}
	return 0
}

// processes are those that were started with this home.
func (h *Home) processes() []int {
	var out []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(env), h.Dir) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/environ", &pid); err == nil && pid != os.Getpid() {
			out = append(out, pid)
		}
	}
	return out
}

// Open starts the program and sits down in front of it.
func Open(t testing.TB, s Setup) *User {
	t.Helper()
	if s.Home == nil {
		s.Home = NewHome(t)
	}
	if s.Size == "" {
		s.Size = "120x34"
	}
	var w, h int
	if _, err := fmt.Sscanf(s.Size, "%dx%d", &w, &h); err != nil {
		t.Fatalf("size %q: %v", s.Size, err)
	}
	dir, err := os.MkdirTemp("/tmp", "at-tmux-")
	if err != nil {
		t.Fatal(err)
	}
	u := &User{t: t, Home: s.Home, server: filepath.Join(dir, "s"), raw: filepath.Join(dir, "raw")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", u.server, "kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	vars := map[string]string{"NO_COLOR": "", "LC_ALL": "", "LC_CTYPE": "", "LANG": "C.UTF-8", "TMUX": "", "COLORTERM": "truecolor", "TERM": "tmux-256color",
		"ARCHETYPE_HOME": s.Home.Dir, "ARCHETYPE_ROOTLESS": "1"}
	maps.Copy(vars, s.Env)
	var unset, set []string
	for k, v := range vars {
		if v == "" {
			unset = append(unset, "-u", k)
		} else {
			set = append(set, k+"="+v)
		}
	}
	env := append(append([]string{"env"}, unset...), set...)
	// It waits for a line, so that nothing is missed of what it writes.
	script := "read _; "
	if s.Deaf {
		script = "trap '' HUP; " + script
	}
	script += strings.Join(env, " ") + " " + s.Home.program + " " + s.File +
		"; echo left with $?; stty -a | grep -o -- '[-]*icanon\\|[-]*echo\\>' | tr '\\n' ' '; exec sleep 1000"
	u.tmux("-f", "/dev/null", "new-session", "-d", "-s", "story", "-x", fmt.Sprint(w), "-y", fmt.Sprint(h), script)
	u.tmux("pipe-pane", "-t", "story", "cat >"+u.raw)
	u.tmux("send-keys", "-t", "story", "Enter")
	return u
}

// HangsUp ends the terminal. Without a lab nothing stays then.
func (u *User) HangsUp() {
	u.t.Helper()
	u.tmux("kill-server")
	u.Home.deserted(u.t)
}

func (u *User) tmux(args ...string) string {
	u.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", u.server}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("tmux %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Presses keys, by tmux's names: Enter, Escape, C-p, or a letter. Wait for
// what Escape does before the next key: together they would be one.
func (u *User) Presses(keys ...string) *User {
	u.t.Helper()
	u.tmux(append([]string{"send-keys", "-t", "story"}, keys...)...)
	return u
}

// Types text, letter by letter.
func (u *User) Types(text string) *User {
	u.t.Helper()
	u.tmux("send-keys", "-t", "story", "-l", text)
	return u
}

// Clicks a cell, counted from 0, as a mouse does.
func (u *User) Clicks(x, y int) *User {
	u.t.Helper()
	return u.Types(fmt.Sprintf("\x1b[<0;%d;%dM", x+1, y+1)).Types(fmt.Sprintf("\x1b[<0;%d;%dm", x+1, y+1))
}

// ClicksOn clicks on the first cell of a text of the screen.
func (u *User) ClicksOn(text string) *User {
	u.t.Helper()
	u.Sees(text)
	for y, line := range strings.Split(u.Screen(), "\n") {
		if x := strings.Index(line, text); x >= 0 {
			return u.Clicks(len([]rune(line[:x])), y)
		}
	}
	u.t.Fatalf("%q went away", text)
	return u
}

// Resizes the terminal.
func (u *User) Resizes(size string) *User {
	u.t.Helper()
	w, h, _ := strings.Cut(size, "x")
	u.tmux("resize-window", "-t", "story", "-x", w, "-y", h)
	return u
}

// Screen is what is on it now.
func (u *User) Screen() string {
	u.t.Helper()
	return u.tmux("capture-pane", "-p", "-t", "story")
}

// Written is all that the program has written to the terminal. What is on the
// screen already may still be on its way into the file: so a mark is written
// after it, of a sort that terminals ignore, and waited for.
func (u *User) Written() string {
	u.t.Helper()
	tty, err := os.OpenFile(u.Terminal("pane_tty"), os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	u.marks++
	mark := fmt.Sprintf("\x1b]7777;mark %d\x07", u.marks)
	_, err = tty.WriteString(mark)
	_ = tty.Close()
	if err != nil {
		u.t.Fatal(err)
	}
	var written string
	u.until("for what was written", func(string) bool {
		b, _ := os.ReadFile(u.raw) // there once what writes it runs
		var all bool
		written, _, all = strings.Cut(string(b), mark)
		return all
	})
	return marks.ReplaceAllString(written, "")
}

var marks = regexp.MustCompile("\x1b]7777;mark [0-9]+\x07")

// Terminal asks tmux for a property of the terminal, such as alternate_on.
func (u *User) Terminal(property string) string {
	u.t.Helper()
	return strings.TrimSpace(u.tmux("display-message", "-p", "-t", "story", "#{"+property+"}"))
}

// Buffers lists what was put into the terminal's clipboard.
func (u *User) Buffers() string {
	u.t.Helper()
	return u.tmux("list-buffers")
}

// Signal sends a signal to the program on the screen.
func (u *User) Signal(sig syscall.Signal) *User {
	u.t.Helper()
	shell := u.Terminal("pane_pid")
	out, err := exec.Command("pgrep", "-P", shell).Output()
	var pid int
	if _, serr := fmt.Sscan(string(out), &pid); err != nil || serr != nil {
		u.t.Fatalf("no program under %s: %v %v", shell, err, serr)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		u.t.Fatal(err)
	}
	return u
}

// Sees waits until all of the texts are on the screen at once.
func (u *User) Sees(texts ...string) *User {
	u.t.Helper()
	return u.until("to see "+strings.Join(texts, " and "), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

// SeesNot waits until none of the texts is on the screen any more.
func (u *User) SeesNot(texts ...string) *User {
	u.t.Helper()
	return u.until("no longer to see "+strings.Join(texts, " nor "), func(screen string) bool {
		for _, text := range texts {
			if strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

func (u *User) until(what string, ok func(screen string) bool) *User {
	u.t.Helper()
	begin, changed, before, pause := time.Now(), time.Now(), "", look
	for {
		screen := u.Screen()
		if ok(screen) {
			return u
		}
		if screen != before {
			changed, before = time.Now(), screen
		}
		if time.Since(changed) > patience || time.Since(begin) > most {
			u.t.Fatalf("waited %s; the screen was:\n%s", what, screen)
		}
		time.Sleep(pause)
		pause = min(pause+pause/8, seldom)
	}
}

var colour = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// Colour returns the first sequence in what was written that sets a colour,
// "" when there is none.
func Colour(written string) string {
	for _, seq := range colour.FindAllString(written, -1) {
		for _, f := range strings.FieldsFunc(seq[2:len(seq)-1], func(r rune) bool { return r == ';' || r == ':' }) {
			if len(f) >= 2 && (f[0] == '3' || f[0] == '4' || f[0] == '9' || strings.HasPrefix(f, "10")) {
				return seq
			}
		}
	}
	return ""
}
