package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
			w.prefix = []string{"/bin/sh", "-c", `umask 000; exec "$@"`, "sh"}
			if m == asRoot { // and through sudo: what is made is root's all the same
				w.env = append(w.env, "SUDO_USER=nobody", fmt.Sprintf("SUDO_UID=%d", nobody), fmt.Sprintf("SUDO_GID=%d", nobody))
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
			if log, err := os.ReadFile(filepath.Join(w.state(), "engine.log")); err == nil {
				said["engine.log"] = string(log)
			}
			if len(said["events"]) == 0 || !strings.Contains(said["archetype jobs"], "deploy") {
				t.Fatalf("nothing was said: %q, %q, %q", said["events"], said["archetype jobs"], said["archetype deploy "+file])
			}
			for what, text := range said {
				if at := strings.Index(text, marker); at >= 0 {
					t.Errorf("%s tells a secret: …%s", what, text[max(0, at-200):min(len(text), at+60)])
				}
			}
			w.private()
			tell("engine", "stop")
			w.private()
		})
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
	if log, err := os.ReadFile(filepath.Join(w.state(), "engine.log")); err == nil {
		said["engine.log"] = string(log)
	}
	for what, text := range said {
		if strings.Contains(text, marker) {
			w.Errorf("%s tells a secret: %s", what, text)
		}
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

// private wants nobody else to be able to read what the program has made, and
// its own user to own it.
func (w *world) private() {
	w.Helper()
	owner := os.Geteuid()
	if w.mode == asUser && owner == 0 {
		owner = nobody
	}
	labs := filepath.Join(w.state(), "labs")
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
		sys := st.Sys().(*syscall.Stat_t)
		// What is in a node's own folder is the node's; nobody gets there.
		inNode := strings.Count(strings.TrimPrefix(path, labs), "/") > 1 && strings.HasPrefix(path, labs+"/")
		if st.Mode()&fs.ModeSymlink == 0 && st.Mode().Perm()&0o077 != 0 && (!inNode || d.IsDir() && filepath.Dir(filepath.Dir(path)) == labs) {
			w.Errorf("%s has mode %o", path, st.Mode().Perm())
		}
		if int(sys.Uid) != owner && !inNode {
			w.Errorf("%s belongs to %d", path, sys.Uid)
		}
		if inNode || !st.Mode().IsRegular() || sys.Mode&0o004 == 0 {
			return nil
		}
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(marker)) {
			w.Errorf("%s, which everybody can read, has a secret in it", path)
		}
		return nil
	})
	if err != nil || seen < 8 {
		w.Errorf("%d files were looked at: %v", seen, err)
	}
}
