package conformance_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends/conformance"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/podman"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/osthread"
)

// What is an ordinary user's lives in a user namespace, and can be wired from
// inside it alone. So that is where its pairs are run: by this same binary,
// which a holder that is in there starts, as it starts the program's engine.

// userVerb makes the test binary bring a pair's tests there. Its arguments are
// a folder, Podman's endpoint or nothing, and a pattern of tests.
const userVerb = "as-user"

// Environment variables of the tests that were brought there.
const (
	insideDir  = "CONFORMANCE_INSIDE" // the folder
	insideHost = "CONFORMANCE_PODMAN" // Podman's endpoint
)

// isInside says whether these are they.
func isInside() bool { return os.Getenv(insideDir) != "" }

var userPodman = enginetest.Shared{Kind: podmantest.Rootless}

// inPodmans runs a pair in the user namespace of an ordinary user's Podman.
func inPodmans(t *testing.T, network string) bool {
	if isInside() {
		return false
	}
	e := userPodman.Get(t)
	away(t, e.Dir, e.Host, "podman-rootless", network)
	return true
}

// inOwn runs a pair in a user namespace that holds nothing else.
func inOwn(t *testing.T, network string) bool {
	if isInside() {
		return false
	}
	if a := holder.Probe(true); !a.OK {
		t.Skip(a.Reason)
	}
	away(t, "", "", "netns-rootless", network)
	return true
}

// away brings a pair's tests, as an ordinary user, into the user namespace of
// the Podman at host, or into one of its own.
func away(t *testing.T, folder, host, provider, network string) {
	dir, err := os.MkdirTemp(folder, "away") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, device := filepath.Join(dir, "tests"), filepath.Join(dir, "probe")
	if err := errors.Join(copyProgram("/proc/self/exe", program), copyProgram(conformance.Device(t), device)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, userVerb, dir, host, "^TestConformance$/^"+provider+"$/^"+network+"$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+folder, "TMPDIR="+dir, conformance.DeviceVar+"="+device)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, podmantest.Nobody, podmantest.Nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: podmantest.Nobody, Gid: podmantest.Nobody}
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := osthread.Start(cmd); err != nil {
		t.Fatal(err)
	}
	relay(t, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the tests as an ordinary user: %v\n%s", err, said.String())
	}
}

// long is for all the cases of a pair.
const long = 20 * time.Minute

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// asUser starts a holder as the program does, and by it the tests, whose
// output it copies until they have ended. The holder ends with them.
func asUser(dir, host, tests string) error {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	cfg := holder.Config{Dir: filepath.Join(dir, "run"), Rootless: true}
	if host != "" {
		ns, err := podman.UserNamespace(ctx, podman.Config{Host: host})
		if ns == "" {
			return fmt.Errorf("the Podman at %s has no user namespace of its own: %w", host, err)
		}
		cfg.Join = func() (string, error) { return ns, nil }
	}
	h, err := holder.Ensure(ctx, cfg)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(h.PID()) // a handle: the number may be another's one day
	if err != nil {
		return err
	}
	err = underHolder(ctx, h, dir, host, tests)
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if left := h.Wait(ctx); left != nil {
		err = errors.Join(err, fmt.Errorf("the holder did not end: %w", left))
	}
	_ = process.Kill()
	return err
}

func underHolder(ctx context.Context, h *holder.Client, dir, host, tests string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	pipe := filepath.Join(dir, "said")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return err
	}
	env := append(os.Environ(), insideDir+"="+dir, insideHost+"="+host)
	argv := []string{"/bin/sh", "-c", `exec "$0" "$@" >` + pipe + ` 2>&1`, // an engine's log is a file, which cannot be followed
		exe, "-test.v=test2json", "-test.timeout=" + long.String(), "-test.run=" + tests}
	if _, _, err := h.StartEngine(ctx, argv, env, filepath.Join(dir, "log")); err != nil {
		return err
	}
	said, err := os.Open(pipe) // once the tests have opened it, too
	if err != nil {
		return err
	}
	defer said.Close()
	_, err = io.Copy(os.Stdout, said)
	return err
}

// inside finds the holder that has started these tests.
func inside(t *testing.T) (h *holder.Client, labs string) {
	t.Helper()
	dir := os.Getenv(insideDir)
	h, err := holder.Connect(t.Context(), holder.Config{Dir: filepath.Join(dir, "run"), Rootless: true})
	if err != nil {
		t.Fatal(err)
	}
	return h, filepath.Join(dir, "labs")
}

var (
	told = regexp.MustCompile(`^\x16?\s*(?:=== (RUN|CONT|NAME)|--- (PASS|FAIL|SKIP):)\s+(\S+)`)
	spot = regexp.MustCompile(`^\s*\S+\.go:\d+: `)
)

// story is what was told of a test that ran elsewhere.
type story struct {
	name  string
	said  []string
	how   string
	cases chan *story
}

// relay tells of a pair's tests that run elsewhere as tests below t.
func relay(t *testing.T, out io.Reader) {
	pair := &story{cases: make(chan *story)}
	go pair.read(t.Name(), out)
	pair.tell(t)
}

// read reads what a test binary says (with -test.v=test2json it says it at
// once, and begins such lines with a mark) of the test of a name.
func (s *story) read(name string, out io.Reader) {
	all := map[string]*story{name: s}
	at := s
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		m := told.FindStringSubmatch(sc.Text())
		if m == nil {
			if at.how == "" {
				at.said = append(at.said, sc.Text())
			}
			continue
		}
		switch one, known := all[m[3]]; {
		case known && m[2] != "":
			one.end(m[2])
			at = s
		case known:
			at = one
		case m[1] == "RUN" && strings.HasPrefix(m[3], name+"/"):
			at = &story{name: strings.TrimPrefix(m[3], name+"/"), cases: make(chan *story)}
			all[m[3]] = at
			s.cases <- at
		default: // around it
			at = s
		}
	}
	for _, one := range all {
		one.end("FAIL") // unless it has ended
	}
}

func (s *story) end(how string) {
	if s.how == "" {
		s.how = how
		close(s.cases)
	}
}

// tell is the test's own part: it lasts as long as what it tells of.
func (s *story) tell(t *testing.T) {
	for c := range s.cases {
		t.Run(c.name, c.tell)
	}
	text := strings.Join(s.said, "\n")
	switch s.how {
	case "SKIP":
		t.Skip(spot.ReplaceAllString(text, ""))
	case "FAIL":
		if text != "" || !t.Failed() {
			t.Error("where it ran:\n" + text)
		}
	}
}
