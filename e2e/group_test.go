package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// groupOfMachine is one that every machine has, and its number.
const (
	groupOfMachine = "users"
	groupNumber    = 100
)

// guest is another user on a world's machine.
func (w *world) guest(groups ...uint32) func(args ...string) result {
	home := filepath.Join(w.dir, "guest")
	file := filepath.Join(home, "config", "settings.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.Fatal(err)
	}
	w.write(file, "engine: {socket: "+filepath.Join(w.dir, "shared", "engine.sock")+"}\n")
	return func(args ...string) result {
		w.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.Env = w.dir, append([]string{"ARCHETYPE_HOME=" + home}, w.env[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: groups}}
		out, errs := &strings.Builder{}, &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, errs
		_ = cmd.Run()
		return result{args: args, out: out.String(), err: errs.String(), code: cmd.ProcessState.ExitCode()}
	}
}

// TestGroupUsesTheEngine: members of the allowed group use root's engine as
// root does, by what the kernel says of them, and nobody else.
func TestGroupUsesTheEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asRoot)
	if err := os.Chmod(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(w.dir, "shared")
	w.write(filepath.Join(w.home, "config", "settings.yaml"), fmt.Sprintf("engine: {socket: %s/engine.sock, group: %s}\n", shared, groupOfMachine))
	member, stranger := w.guest(groupNumber), w.guest()
	file := w.file("ring.clab.yml", ring("ring", 2))
	// A member starts no engine of root's, and says who does.
	if err := os.Mkdir(shared, 0o750); err != nil {
		t.Fatal(err)
	}
	if r := stranger("inspect"); r.code != 1 {
		t.Errorf("without an engine: %s", r)
	}
	if r := w.run("inspect"); r.code != 1 || !strings.Contains(r.err, "does not let in the group "+groupOfMachine) {
		t.Errorf("a folder that the group cannot enter: %s", r)
	}
	if err := os.Remove(shared); err != nil {
		t.Fatal(err)
	}
	keep := w.begin("engine")
	keep.tells("the engine is running") // and has a client, without which it would end
	for path, want := range map[string]fs.FileMode{shared: 0o750, filepath.Join(shared, "engine.sock"): 0o660} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); st.Mode().Perm() != want || sys.Uid != 0 || sys.Gid != groupNumber {
			t.Errorf("%s has mode %o of %d:%d", path, st.Mode().Perm(), sys.Uid, sys.Gid)
		}
	}
	if r := stranger("inspect"); r.code != 1 || !strings.Contains(r.err, "does not answer this user") {
		t.Errorf("somebody outside of the group: %s", r)
	}
	// Also where the folder lets it in: the engine itself refuses.
	for path, mode := range map[string]fs.FileMode{shared: 0o755, filepath.Join(shared, "engine.sock"): 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if r := stranger("inspect"); r.code != 1 || !strings.Contains(r.err, "does not answer this user") {
		t.Errorf("somebody outside of the group, at an open socket: %s", r)
	}
	if r := member("deploy", file); r.code != 0 {
		t.Fatal(r)
	}
	if r := member("exec", "ring", "n0", "--", "id", "-u"); strings.TrimSpace(r.out) != "0" {
		t.Errorf("exec of a member: %s", r)
	}
	if out := w.ok("jobs", "ring"); !strings.Contains(out, "nobody, deploy") {
		t.Errorf("whose job it is: %s", out)
	}
	for _, args := range [][]string{{"engine", "stop"}, {"engine"}, {"store", "check"}, {"images", "list"}} {
		if r := member(args...); r.code != 1 || !strings.Contains(r.err, "somebody else's") {
			t.Errorf("%s", r)
		}
	}
	// The engine's end is no member's end: it is started again by its owner.
	before := w.inspect("ring")
	w.kill(w.engine())
	w.await("the engine to be there again", func() bool { return member("restart", "ring", "n1").code == 0 })
	if after := w.inspect("ring"); after.node("n0").PID != before.node("n0").PID || after.node("n1").PID == before.node("n1").PID {
		t.Errorf("it was %+v and is %+v", before.Nodes, after.Nodes)
	}
	if r := member("destroy", "ring", "--yes"); r.code != 0 {
		t.Error(r)
	}
	w.kill(keep.pid)
}

// The units of the manual are what systemd takes.
func TestUnitsOfTheManual(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	text, err := os.ReadFile("../docs/engine.md")
	if err != nil {
		t.Fatal(err)
	}
	units := regexp.MustCompile("(?s)```ini\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(units) != 2 {
		t.Fatalf("%d units", len(units))
	}
	for i, unit := range units {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("archetype-%d.service", i))
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit[1], "/usr/local/bin/archetype", program)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", file).CombinedOutput(); err != nil || strings.Contains(string(out), filepath.Base(file)+":") {
			t.Errorf("%v: %s", err, out)
		}
	}
}
