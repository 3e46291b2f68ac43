package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(envSandbox) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "archetype-e2e-bin-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the ordinary user runs it too
	}
	if err == nil {
		program = filepath.Join(dir, "archetype")
		build := exec.Command("go", "build", "-o", program, "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is given out
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		os.Exit(1)
	}
	if err := atOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// atOnce lets more tests run at once than there are processors, unless the
// command line says how many: they wait most of the time.
func atOnce() error {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", "6")
}

// mode is as whom the program runs.
type mode string

const (
	asRoot     mode = "root"     // in the machine's namespaces
	asRootless mode = "rootless" // root with --rootless
	asUser     mode = "user"     // an ordinary user
)

var modes = []mode{asRoot, asRootless, asUser}

// worlds is where the folders of worlds are; empty: with all other temporary
// files.
var worlds string

// nobody is the ordinary user that root turns into.
const nobody = 65534

// world is one user's machine: a home of its own, and with it an engine and
// labs of its own. All that runs in it ends with the test.
type world struct {
	*testing.T
	mode mode
	dir  string // for topology files
	home string
	env  []string
	// prefix is what the program is run by, such as setpriv.
	prefix []string
}

func newWorld(t *testing.T, m mode) *world {
	t.Helper()
	root := os.Geteuid() == 0
	if !root && m != asUser {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp(worlds, "archetype-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, mode: m, dir: dir, home: filepath.Join(dir, "home")}
	w.env = []string{"ARCHETYPE_HOME=" + w.home, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=dumb", "LANG=C.UTF-8"}
	if m == asRootless {
		w.env = append(w.env, "ARCHETYPE_ROOTLESS=1")
	}
	if m == asUser && root {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(w.end)
	if m != asRoot {
		w.needUserNamespaces()
	}
	return w
}

// everyMode runs a test once for each way the program can be run, at once.
func everyMode(t *testing.T, f func(w *world)) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			f(newWorld(t, m))
		})
	}
}

func (w *world) needUserNamespaces() {
	w.Helper()
	r := w.run("doctor", "--json")
	if strings.Contains(r.out, "user namespaces are not permitted") {
		w.Skip("user namespaces are not permitted on this machine")
	}
}

// end ends all that runs in the world, and fails the test if the program's
// own clean-up has left something.
func (w *world) end() {
	// Whatever happens on the way there.
	defer func() {
		for _, p := range w.processes() {
			w.strike(p.pid)
		}
		_ = os.RemoveAll(w.dir)
	}()
	if w.Failed() {
		if log, err := os.ReadFile(filepath.Join(w.state(), "engine.log")); err == nil && len(log) > 0 {
			w.Logf("engine.log:\n%s", log)
		}
	}
	r := w.run("inspect", "--json")
	var labs []struct{ Name string }
	_ = json.Unmarshal([]byte(r.out), &labs)
	for _, l := range labs {
		if r := w.run("destroy", l.Name, "--yes"); r.code != 0 {
			w.Errorf("destroy %s: %s", l.Name, r)
		}
	}
	if !became(func() bool { return len(w.processes()) == 0 }) {
		w.Errorf("processes are left: %v", w.processes())
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err == nil && bytes.Contains(mounts, []byte(w.dir)) {
		w.Errorf("mounts are left:\n%s", mounts)
	}
}

func (w *world) state() string {
	if w.mode == asRootless {
		return filepath.Join(w.home, "state", "rootless")
	}
	return filepath.Join(w.home, "state")
}

// result is how a run of the program ended.
type result struct {
	args     []string
	out, err string
	code     int
}

func (r result) String() string {
	return fmt.Sprintf("archetype %s\nexit code %d\n%s%s", strings.Join(r.args, " "), r.code, r.out, r.err)
}

// command prepares a run of the program.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	argv := slices.Concat(w.prefix, []string{program}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = w.dir, w.env
	cmd.SysProcAttr = w.credential()
	return cmd
}

func (w *world) credential() *syscall.SysProcAttr {
	if w.mode == asUser && os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return &syscall.SysProcAttr{}
}

// patience bounds every single run and wait. Nothing is measured by it.
const patience = 3 * time.Minute

func (w *world) run(args ...string) result { return w.runWith("", args...) }

func (w *world) runWith(stdin string, args ...string) result {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := w.command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	r := result{args: args, out: out.String(), err: errOut.String(), code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatalf("%s: %v", r, err)
	}
	return r
}

// code runs the program and wants it to end with an exit code.
func (w *world) code(want int, args ...string) result {
	w.Helper()
	r := w.run(args...)
	if r.code != want {
		w.Fatalf("exit code %d wanted: %s", want, r)
	}
	return r
}

func (w *world) ok(args ...string) string {
	w.Helper()
	return w.code(0, args...).out
}

// sh runs a shell's words in a node and wants them to succeed.
func (w *world) sh(lab, node, script string) string {
	w.Helper()
	return strings.TrimSpace(w.ok("exec", lab, node, "--", "sh", "-c", script))
}

// ping sends one echo request and reports whether it was answered.
func (w *world) ping(lab, from, to string) bool {
	w.Helper()
	return w.run("exec", lab, from, "--", "ping", "-c", "1", "-W", "1", to).code == 0
}

// file writes a topology file, or another, into the world's folder.
func (w *world) file(name, text string) string {
	w.Helper()
	file := filepath.Join(w.dir, name)
	w.write(file, text)
	return file
}

// vendor writes a kind of the user's own.
func (w *world) vendor(name, text string) {
	w.Helper()
	w.write(filepath.Join(w.home, "config", "vendors", name), text)
}

func (w *world) write(file, text string) {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
	if w.mode == asUser && os.Geteuid() == 0 {
		for p := file; strings.HasPrefix(p, w.dir+"/"); p = filepath.Dir(p) {
			if err := os.Chown(p, nobody, nobody); err != nil {
				w.Fatal(err)
			}
		}
	}
}

func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", name+".clab.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// became looks until something has become so, and says whether it did.
func became(so func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return false
}

// await wants something to become so.
func (w *world) await(what string, so func() bool) {
	w.Helper()
	if !became(so) {
		w.Fatalf("waited in vain for %s; labs: %s", what, w.run("inspect", "--json"))
	}
}
