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
	"strconv"
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
	dir, err := os.MkdirTemp("", "archetype-e2e-")
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
const patience = 60 * time.Second

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

// The contract of inspect --json.
type (
	labJSON struct {
		Name, State, File, Provider, Network string
	}
	nodeJSON struct {
		Name, Kind, Provider, Identifier, Desired, Actual string
		Progress                                          int
		ProgressText                                      string `json:"progress_text"`
		Error                                             string
		PID                                               int
	}
	linkJSON struct {
		A, B, Desired, Actual, Carrier string
		VLAN                           int
		Error                          string
	}
	inspectJSON struct {
		Lab   labJSON
		Nodes []nodeJSON
		Links []linkJSON
	}
)

func (w *world) inspect(lab string) *inspectJSON {
	w.Helper()
	var v inspectJSON
	w.decode(w.ok("inspect", lab, "--json"), &v)
	return &v
}

func (w *world) decode(text string, v any) {
	w.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		w.Fatalf("%v in %s", err, text)
	}
}

func (l *inspectJSON) node(name string) nodeJSON {
	i := slices.IndexFunc(l.Nodes, func(n nodeJSON) bool { return n.Name == name })
	if i < 0 {
		return nodeJSON{}
	}
	return l.Nodes[i]
}

func (l *inspectJSON) link(a, b string) linkJSON {
	i := slices.IndexFunc(l.Links, func(k linkJSON) bool { return k.A == a && k.B == b || k.A == b && k.B == a })
	if i < 0 {
		return linkJSON{}
	}
	return l.Links[i]
}

// whole reports whether every node runs and every link is up.
func (l *inspectJSON) whole() bool {
	return l.Lab.State == "running" &&
		!slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool { return n.Actual != "running" || n.PID == 0 }) &&
		!slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.Actual != "up" || k.Carrier != "on" })
}

func (w *world) awaitWhole(lab string) *inspectJSON {
	w.Helper()
	var l *inspectJSON
	w.await(lab+" to be whole", func() bool {
		r := w.run("inspect", lab, "--json")
		if r.code != 0 {
			return false
		}
		l = &inspectJSON{}
		w.decode(r.out, l)
		return l.whole()
	})
	return l
}

// process is one that belongs to the world.
type process struct {
	pid, parent int
	command     string
	environment string
}

// processes are all that belong to the world: its holder and what descends
// from it, its engine, and whatever carries its folder's name.
func (w *world) processes() []process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	ours := map[int]bool{}
	for pid, p := range all {
		if strings.Contains(p.command, w.dir) || strings.Contains(p.environment, w.dir) {
			ours[pid] = true
		}
	}
	for more := true; more; {
		more = false
		for pid, p := range all {
			if !ours[pid] && ours[p.parent] {
				ours[pid], more = true, true
			}
		}
	}
	var out []process
	for pid := range ours {
		out = append(out, all[pid])
	}
	slices.SortFunc(out, func(a, b process) int { return a.pid - b.pid })
	return out
}

func readProcess(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" {
		return process{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
	return process{pid: pid, parent: parent, command: strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")),
		environment: string(environ)}, true
}

func (w *world) find(what string, is func(process) bool) []process {
	var out []process
	for _, p := range w.processes() {
		if is(p) {
			out = append(out, p)
		}
	}
	if len(out) > 1 && what != "" {
		w.Errorf("%s runs %d times: %v", what, len(out), out)
	}
	return out
}

func (w *world) holder() int {
	return pidOf(w.find("the holder", func(p process) bool { return strings.Contains(p.command, "archetype holder ") }))
}

func (w *world) engine() int {
	return pidOf(w.find("the engine", func(p process) bool { return strings.HasSuffix(p.command, " engine --serve") }))
}

func pidOf(ps []process) int {
	if len(ps) == 0 {
		return 0
	}
	return ps[0].pid
}

// inits are the first processes of a lab's nodes, by node.
func (w *world) inits(lab string) map[string][]int {
	out := map[string][]int{}
	for _, p := range w.find("", func(p process) bool { return strings.HasPrefix(p.command, "archetype init "+lab+"/") }) {
		_, node, _ := strings.Cut(p.command, "/")
		out[node] = append(out[node], p.pid)
	}
	return out
}

func (w *world) kill(pid int) {
	w.Helper()
	if pid == 0 {
		w.Fatal("the process to kill does not run")
	}
	w.strike(pid)
	w.await("the killed process to end", func() bool { return !w.has(pid) })
}

// strike kills a process of this world, and none that has got its number
// since: the handle is to the very process that is looked at.
func (w *world) strike(pid int) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if w.has(pid) {
		_ = p.Kill()
	}
}

func (w *world) has(pid int) bool {
	return slices.ContainsFunc(w.processes(), func(p process) bool { return p.pid == pid })
}
