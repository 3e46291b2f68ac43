package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// marker stands for every password in what follows.
const marker = "Hunter2-must-not-be-told"

const secretLab = `
name: secrets
topology:
  nodes:
    a:
      kind: linux
      env: {PASSWORD: ` + marker + `-env, USERNAME: admin}
      startup-config: a.cfg
    b:
      kind: guarded
      env: {TOKEN: ` + marker + `-token}
    c:
      kind: guarded-never
      env: {PASSWORD: ` + marker + `-c}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
`

// guarded is a kind with a password that says it while it boots.
const guarded = `name: guarded
providers: [netns]
interfaces: {any: true}
env: {PASSWORD: ` + marker + `-vendor}
embedded:
  processes:
    - name: says
      command: [/bin/sh, -c, "echo logging in with $PASSWORD; echo up; exec sleep 1000000"]
readiness: {probe: log, pattern: "^up$", timeout: 60s}
progress:
  - {text: logging in, percent: 40, message: logging in}
config_extract: {method: command, command: [echo, no secrets]}
`

// TestSecretsAndPrivateFiles: a lab with passwords everywhere, made, used,
// failed, and looked at, by whoever the program runs as and with a umask that
// takes nothing away. No log, event, error or answer has one, and nobody else
// can read a file that the program has made.
func TestSecretsAndPrivateFiles(t *testing.T) {
	for _, m := range []mode{asRoot, asUser} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, m)
			w.umask("000")
			if m == asRoot {
				w.sudo()
			}
			w.vendor("guarded.yaml", guarded)
			w.vendor("never.yaml", strings.NewReplacer("name: guarded", "name: guarded-never", `"^up$", timeout: 60s`, `"^never$", timeout: 1s`).Replace(guarded))
			w.vendor("bad.yaml", "name: bad\nenv: {PASSWORD: "+marker+"-bad, x: [}\n")
			w.file("a.cfg", "hostname a\nenable secret "+marker+"-config\n")
			file := w.file("secrets.clab.yml", secretLab)
			broken := w.file("broken.clab.yml", secretLab+"    - endpoints: [a:eth2\n  nodes:\n")
			wrong := w.file("wrong.clab.yml", strings.ReplaceAll(secretLab, "kind: linux", "knd: linux"))
			said := map[string]string{}
			tell := func(args ...string) {
				r := w.run(args...)
				said["archetype "+strings.Join(args, " ")] = r.out + r.err
			}
			tell("check", broken)
			tell("check", wrong, "--json")
			tell("deploy", broken)
			tell("deploy", file) // c never comes up
			tell("restart", "secrets", "b")
			tell("exec", "secrets", "a", "--", "no-such-command")
			tell("exec", "secrets", "a", "--", "sh", "-c", "exit 3")
			tell("link", "disconnect", "secrets", "a:eth1", "b:eth1")
			tell("inspect", "secrets")
			tell("inspect", "secrets", "--json")
			tell("jobs")
			tell("jobs", "--json")
			tell("vendors")
			tell("doctor")
			tell("store", "backup")
			tell("store", "check")
			said["events"] = w.events("secrets: disconnect a:eth1")
			for _, p := range w.processes() {
				said["the command line of "+p.command] = p.command
			}
			said["engine.log after a crash"] = w.crash()
			if len(said["events"]) == 0 || !strings.Contains(said["archetype jobs"], "deploy") {
				t.Fatalf("nothing was said: %q, %q, %q", said["events"], said["archetype jobs"], said["archetype deploy "+file])
			}
			for what, text := range said {
				if at := strings.Index(text, marker); at >= 0 {
					t.Errorf("%s tells a secret: …%s", what, text[max(0, at-200):min(len(text), at+60)])
				}
			}
			w.ok("save", "secrets", "b", "-o", "saved")
			for path, want := range map[string]fs.FileMode{"saved": 0o700, "saved/b.cfg": 0o600} {
				if st, err := os.Stat(filepath.Join(w.dir, path)); err != nil || st.Mode().Perm() != want {
					t.Errorf("%s: %v, %v", path, st, err)
				}
			}
			w.private()
			if m == asRoot {
				w.rootsAlone()
			}
			tell("engine", "stop")
			w.private()
		})
	}
}

// umask has the program run with one.
func (w *world) umask(mask string) {
	w.prefix = []string{"/bin/sh", "-c", "umask " + mask + `; exec "$@"`, "sh"}
}

// sudo has the program run as sudo may: as root, with an ordinary user's home.
func (w *world) sudo() {
	w.Helper()
	home := filepath.Join(w.dir, "caller")
	if err := errors.Join(os.Chmod(w.dir, 0o711), os.Mkdir(home, 0o700), os.Chown(home, nobody, nobody)); err != nil {
		w.Fatal(err)
	}
	w.env = append(w.env, "HOME="+home, "SUDO_USER=nobody", fmt.Sprintf("SUDO_UID=%d", nobody), fmt.Sprintf("SUDO_GID=%d", nobody))
}

// rootsAlone wants what was started by sudo to be root's: nothing is in the home
// of the user who called, and that user is not let in.
func (w *world) rootsAlone() {
	w.Helper()
	if made := names(filepath.Join(w.dir, "caller")); len(made) > 0 {
		w.Errorf("in the home of who called sudo there is %q", made)
	}
	w.ok("inspect") // the engine runs
	for _, args := range [][]string{{"inspect"}, {"engine", "stop"}, {"store", "backup"}} {
		cmd := w.command(w.Context(), args...)
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
			w.Errorf("%v by who called sudo: %v, %s", args, err, out)
		}
	}
}

// keepsSecrets wants nothing that is said of a lab to have a secret in it, and
// no file that others could read.
func (w *world) keepsSecrets(lab string) {
	w.Helper()
	said := map[string]string{"events": w.events(lab + ": deploy")}
	for _, args := range [][]string{{"inspect", lab}, {"inspect", lab, "--json"}, {"jobs", "--json"}, {"exec", lab, "a", "--", "no-such-command"}, {"store", "backup"}} {
		r := w.run(args...)
		said["archetype "+strings.Join(args, " ")] = r.out + r.err
	}
	for _, p := range w.processes() {
		said["the command line of "+p.command] = p.command
	}
	said["engine.log after a crash"] = w.crash()
	for what, text := range said {
		if strings.Contains(text, marker) {
			w.Errorf("%s tells a secret: %s", what, text)
		}
	}
	w.private()
	if slices.Contains(w.env, "SUDO_USER=nobody") {
		w.rootsAlone()
	}
	kept := 0
	_ = filepath.WalkDir(w.state(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // it went meanwhile
		}
		st, err := d.Info()
		if err != nil || st.Size() > 64<<20 { // a machine's disk
			return nil //nolint:nilerr // likewise
		}
		data, _ := os.ReadFile(path)
		if !bytes.Contains(data, []byte(marker)) {
			return nil
		}
		if kept++; st.Mode().Perm()&0o077 != 0 {
			w.Errorf("%s has a secret in it and mode %o", path, st.Mode().Perm())
		}
		return nil
	})
	if kept == 0 {
		w.Error("no file has the secret in it: nothing was looked for")
	}
}

// crash has the engine end as by a fault of its own, with all that it was at,
// and returns what is in its log then.
func (w *world) crash() string {
	w.Helper()
	w.ok("inspect") // whoever has ended it before
	pid := w.engine()
	w.signal(pid, syscall.SIGQUIT)
	w.await("the engine's crash", func() bool { return !w.has(pid) })
	log, err := os.ReadFile(filepath.Join(w.state(), "engine.log"))
	if err != nil || !strings.Contains(string(log), "goroutine ") {
		w.Errorf("the engine's log has nothing of its crash: %v: %s", err, log)
	}
	return string(log)
}

// private wants nobody else to be able to read what the program has made, and
// its own user to own it.
func (w *world) private() {
	w.Helper()
	owner := os.Geteuid()
	if w.mode == asUser && owner == 0 {
		owner = nobody
	}
	seen := 0
	err := filepath.WalkDir(w.state(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went meanwhile
		}
		st, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		seen++
		inNode := w.inClosedNode(path)
		switch mode := st.Mode(); {
		case inNode || mode&fs.ModeSymlink != 0 || mode.Perm()&0o077 == 0:
		case mode.IsDir() && mode.Perm() == 0o711 && path != w.state(): // on the way to a machine's disks and serial line
		case mode&fs.ModeSocket != 0 && mode.Perm()&0o002 == 0 && filepath.Dir(path) == filepath.Join(w.state(), "run", "libvirt"): // QEMU's: others cannot connect
		default:
			w.Errorf("%s has mode %o", path, mode.Perm())
		}
		if uid := int(st.Sys().(*syscall.Stat_t).Uid); uid != owner && !inNode {
			w.Errorf("%s belongs to %d", path, uid)
		}
		return nil
	})
	if err != nil || seen < 8 {
		w.Errorf("%d files were looked at: %v", seen, err)
	}
}

// inClosedNode reports whether something is in the folder of a node that nobody
// else can enter: what is there is the node's.
func (w *world) inClosedNode(path string) bool {
	node := nodesFolder.FindString(strings.TrimPrefix(path, w.state()+"/"))
	if node == "" {
		return false
	}
	st, err := os.Stat(filepath.Join(w.state(), node))
	return err == nil && st.Mode().Perm()&0o077 == 0
}

// nodesFolder is one of a node, or that of the program that all containers
// begin with, for what is in it, below the folder for state.
var nodesFolder = regexp.MustCompile(`^(labs/[^/]+/[^/]+|run/[^/]+/(gate|[^/]+/[^/]+))/`)

// TestHomeOfSomebodyElse: a user keeps nothing where another could change it, and
// nothing is made there. Root may, and so may whoever root has made a folder for.
func TestHomeOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asRoot)
	const somebody = 4321
	folder := func(name string, owner int) string {
		dir := filepath.Join(w.dir, name)
		if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777), os.Chown(dir, owner, owner), os.Chmod(w.dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	theirs := folder("theirs", somebody)
	link := filepath.Join(w.dir, "link")
	if err := os.Symlink(theirs, link); err != nil {
		t.Fatal(err)
	}
	run := func(user uint32, env ...string) string {
		cmd := exec.Command(program, "inspect")
		cmd.Dir, cmd.Env = w.dir, append(slices.Clone(w.env[1:]), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	for _, env := range [][]string{{"ARCHETYPE_HOME=" + theirs}, {"ARCHETYPE_HOME=" + theirs + "/mine/own"}, {"ARCHETYPE_HOME=" + link},
		{"ARCHETYPE_HOME=", "HOME=" + theirs, "XDG_STATE_HOME=", "XDG_CONFIG_HOME="}} {
		if out := run(nobody, env...); !strings.Contains(out, theirs) || !strings.Contains(out, "belongs to user 4321") || !strings.Contains(out, "set ARCHETYPE_HOME to") {
			t.Errorf("%s: %s", env, out)
		}
	}
	if there, err := os.ReadDir(theirs); err != nil || len(there) > 0 {
		t.Errorf("something was made there: %v, %v", there, err)
	}
	for user, home := range map[uint32]string{nobody: folder("own", nobody), 0: theirs} {
		if out := run(user, "ARCHETYPE_HOME="+home); !strings.Contains(out, "No lab is deployed") {
			t.Errorf("user %d in %s: %s", user, home, out)
		}
	}
}
