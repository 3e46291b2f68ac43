package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is stored is backed up while a lab runs, checked, restored and
// compacted, and the lab never notices; the engine ends when it is told to.
func TestStoreIsLookedAfterWhileALabRuns(t *testing.T) {
	w := newWorld(t, asUser)
	file := w.file("ring.clab.yml", ring("ring", 3))
	w.ok("deploy", file, "--network", "veth")
	inits := w.inits("ring")
	copied := filepath.Join(filepath.Dir(file), "backup.db")
	w.ok("store", "backup", copied)
	w.ok("store", "check")
	if out := w.code(1, "store", "restore", copied); !strings.Contains(out.err, "archetype engine stop") {
		t.Errorf("restored under the engine's feet: %+v", out)
	}
	w.ok("engine", "stop")
	w.ok("store", "restore", copied)
	w.ok("store", "compact")
	w.ok("store", "check")
	if out := w.ok("gc"); !strings.Contains(out, "nothing") {
		t.Errorf("gc found: %s", out)
	}
	w.awaitWhole("ring")
	for name, pids := range w.inits("ring") {
		if len(inits[name]) != 1 || len(pids) != 1 || inits[name][0] != pids[0] {
			t.Errorf("%s was %v and is %v", name, inits[name], pids)
		}
	}
	// Backups that were made by themselves are beside it, and a damaged file is
	// repaired from the newest, whether by the verb or by the next start; what
	// runs is as it was, and nothing is silently gone.
	w.ok("store", "backup") // what was stored since the last one that was made by itself
	w.ok("engine", "stop")
	db := filepath.Join(w.state(), "archetype.db")
	good, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	if autos, _ := filepath.Glob(db + ".backup-auto-*"); len(autos) == 0 || len(autos) > 5 {
		t.Errorf("backups that were made by themselves: %v", autos)
	}
	for i, bad := range [][]byte{good[:9000], turned(good), nil} { // half of it may hold all: the rest is free
		if err := os.WriteFile(db, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			w.code(1, "store", "check")
			if out := w.ok("store", "repair"); !strings.Contains(out, "damaged") || !strings.Contains(out, "restored from") && !strings.Contains(out, "nothing is lost") {
				t.Errorf("damage %d, repair: %s", i, out)
			}
		} else if r := w.code(0, "inspect", "--json"); !strings.Contains(r.err, "the store was damaged") || strings.Contains(r.out, "damaged") {
			t.Errorf("damage %d, told by the verb that started the engine: %s", i, r)
		}
		w.awaitWhole("ring")
		if i%2 == 1 {
			if out := w.said("the store was damaged"); !strings.Contains(out, "restored from") && !strings.Contains(out, "nothing is lost") {
				t.Errorf("damage %d, told by the engine: %q", i, out)
			}
		}
		if kept, _ := filepath.Glob(db + ".damaged-*"); len(kept) != i+1 {
			t.Errorf("damage %d: kept are %v", i, kept)
		}
		for name, pids := range w.inits("ring") {
			if len(pids) != 1 || inits[name][0] != pids[0] {
				t.Errorf("damage %d: %s was %v and is %v", i, name, inits[name], pids)
			}
		}
		w.ok("store", "check")
		w.ok("engine", "stop")
	}
	// Damaged or away while the engine has it: whoever asks is told so, once.
	w.awaitWhole("ring")
	if err := os.Truncate(db, 9000); err != nil {
		t.Fatal(err)
	}
	if r := w.code(1, "link", "disconnect", "ring", "n0:eth1", "n1:eth2"); !strings.Contains(r.err, "the database is damaged") {
		t.Errorf("with the file cut short: %s", r)
	}
	w.await("the repair", func() bool { return w.run("inspect", "ring").code == 0 })
	w.awaitWhole("ring")
	for name, pids := range w.inits("ring") {
		if len(pids) != 1 || inits[name][0] != pids[0] {
			t.Errorf("damaged in use: %s was %v and is %v", name, inits[name], pids)
		}
	}
	if log, err := os.ReadFile(filepath.Join(w.state(), "engine.log")); err != nil || strings.Contains(string(log), "goroutine ") {
		t.Errorf("the engine has crashed: %v, %s", err, log)
	}
	w.ok("engine", "stop")
	// A file of a later program is refused, and left as it is.
	newer, err := os.ReadFile("../store/testdata/newer.db")
	if err != nil {
		t.Fatal(err)
	}
	good, err = os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(db, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"inspect"}, {"store", "check"}, {"store", "repair"}, {"store", "compact"}} {
		if r := w.code(1, args...); !strings.Contains(r.err, "newer version") {
			t.Errorf("%v of a newer file: %s", args, r)
		}
	}
	if now, _ := os.ReadFile(db); !bytes.Equal(now, newer) {
		t.Error("the newer file was changed")
	}
	// Who goes back to this program puts a backup of its own in that file's place.
	out := w.ok("store", "restore", copied)
	_, before, _ := strings.Cut(strings.TrimSpace(out), "kept as ")
	if now, err := os.ReadFile(before); err != nil || !bytes.Equal(now, newer) {
		t.Errorf("the newer file is not kept: %v, %s", err, out)
	}
	w.awaitWhole("ring")
	w.ok("engine", "stop")
	if err := os.WriteFile(db, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.awaitWhole("ring")
}

// What is left of labs that nobody knows: told, removed when that is asked for,
// and nothing else touched.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.ok("deploy", w.file("kept.clab.yml", ring("kept", 2)))
	w.sh("kept", "n0", "echo mine >/etc/mine")
	w.ok("deploy", w.file("lost.clab.yml", ring("lost", 2)), "--network", "veth")
	w.sh("lost", "n0", "echo mine >/etc/mine")
	w.ok("destroy", "lost", "--yes")
	labs := filepath.Join(w.state(), "labs")
	if _, err := os.Stat(filepath.Join(labs, "lost")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("destroy has left a folder: %v", err)
	}
	for _, dir := range []string{"lost/n0/fs", "kept/gone/fs"} {
		if err := os.MkdirAll(filepath.Join(labs, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		w.write(filepath.Join(labs, dir, "file"), "of a node\n")
	}
	// What somebody else has put there.
	mine := w.file("mine/file", "of nobody's lab\n")
	others := []string{filepath.Join(labs, "mine"), filepath.Join(labs, "kept", "mine"), filepath.Join(labs, "a note"), filepath.Join(labs, "no lab")}
	if err := errors.Join(os.Symlink(filepath.Dir(mine), others[0]), os.Symlink(filepath.Dir(mine), others[1]),
		os.WriteFile(others[2], nil, 0o600), os.Mkdir(others[3], 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, remove := range []bool{false, true} {
		args := []string{"gc"}
		if remove {
			args = append(args, "--remove")
		}
		out := w.ok(args...)
		if !strings.Contains(out, "folder lost") || !strings.Contains(out, "folder kept/gone") || strings.Contains(out, "kept/n") {
			t.Errorf("%v says %s", args, out)
		}
		for _, dir := range []string{"lost", "kept/gone"} {
			if _, err := os.Stat(filepath.Join(labs, dir)); (err == nil) == remove {
				t.Errorf("after %v, %s: %v", args, dir, err)
			}
		}
	}
	for _, file := range append(others, mine) {
		if _, err := os.Lstat(file); err != nil {
			t.Errorf("what was somebody else's: %v", err)
		}
	}
	if out := w.ok("gc"); !strings.Contains(out, "nothing") {
		t.Errorf("gc once more: %s", out)
	}
	if got := w.sh("kept", "n0", "cat /etc/mine"); got != "mine" || !w.inspect("kept").whole() {
		t.Errorf("the lab that is known has %q: %+v", got, w.inspect("kept"))
	}

	// The store is lost, and the holder of its nodes is out of reach: another is
	// started, and what the first one holds nobody can use any more.
	lost := w.holder()
	w.kill(w.engine())
	w.loseStore()
	if err := os.Remove(filepath.Join(w.state(), "run", "holder.sock")); err != nil {
		t.Fatal(err)
	}
	want := []string{"files folder kept/", fmt.Sprintf("netns holder %d", lost)}
	if got := w.strays("gc"); !slices.Equal(got, want) {
		t.Errorf("gc finds %q; wanted %q", got, want)
	}
	if !w.has(lost) || len(w.inits("kept")) != 2 {
		t.Error("looking has ended it")
	}
	if got := w.strays("gc", "--remove"); !slices.Equal(got, want) {
		t.Errorf("gc --remove finds %q; wanted %q", got, want)
	}
	if w.has(lost) || len(w.inits("kept")) != 0 {
		t.Error("it is there still")
	}
	if got := w.strays("gc"); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// TestLinksThatAnOlderBackupDoesNotKnow: what a lab got after the backup that its
// store was restored from is no part of it, and bears its marks. gc finds it, down
// to the ends in nodes that stay, and removes nothing else.
func TestLinksThatAnOlderBackupDoesNotKnow(t *testing.T) {
	for network, joint := range map[string][]string{"veth": nil, "linuxbridge": {"linuxbridge link old/n0:eth9|n2:eth1"}} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asUser)
			before := w.file("old.clab.yml", ring("old", 2))
			w.ok("deploy", before, "--network", network)
			w.ok("store", "backup", filepath.Join(w.dir, "backup"))
			w.ok("node", "add", "old", "n2", "--kind", "linux")
			w.ok("link", "connect", "old", "n0:eth9", "n2:eth1")
			w.ok("engine", "stop")
			w.ok("store", "restore", filepath.Join(w.dir, "backup"))
			w.awaitWhole("old")
			want := append([]string{network + " end old/n0:eth9", network + " end old/n2:eth1", "netns node old/n2"}, joint...)
			slices.Sort(want)
			for _, args := range [][]string{{"gc"}, {"gc", "--remove"}} {
				if got := w.strays(args...); !slices.Equal(got, want) {
					t.Errorf("%v finds %q; wanted %q", args, got, want)
				}
			}
			if got := w.strays("gc"); len(got) > 0 {
				t.Errorf("left: %q", got)
			}
			if got := w.sh("old", "n0", "ls /sys/class/net 2>/dev/null; ip -o link"); strings.Contains(got, "eth9") || !w.ping("old", "n0", "n1") {
				t.Errorf("n0 has %s, and its own link carries no more, or has not gone", got)
			}
			w.consistent("old")
		})
	}
}

// strays are those that a run of gc lists, each as backend, type and name,
// sorted. Whatever cannot be removed or judged fails the test.
func (w *world) strays(args ...string) []string {
	w.Helper()
	r := w.code(0, append(args, "--json")...)
	found := w.found(r)
	out := make([]string, 0, len(found))
	for _, s := range found {
		if s.Error != "" || s.Removed != slices.Contains(args, "--remove") {
			w.Errorf("%v: %+v", args, s)
		}
		out = append(out, s.String())
	}
	slices.Sort(out)
	return out
}

// stray is one in what gc says.
type stray struct {
	Backend, Type, Lab, Name, Error string
	Removed                         bool
}

func (s stray) String() string {
	if s.Lab != "" {
		s.Lab += "/"
	}
	return s.Backend + " " + s.Type + " " + s.Lab + s.Name
}

func (w *world) found(r result) (out []stray) {
	w.Helper()
	w.decode(r.out, &out)
	return out
}

// loseStore removes the store, and its backups.
func (w *world) loseStore() {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.state(), "archetype.db*"))
	if err != nil || len(files) == 0 {
		w.Fatal("no store to lose: ", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			w.Fatal(err)
		}
	}
}

// turned is a file with bits turned in its pages after the heads.
func turned(good []byte) []byte {
	bad := bytes.Clone(good)
	for at := 8192; at < len(bad); at += 97 {
		bad[at] ^= 1 << (at % 8)
	}
	return bad
}

// said is the first event with the words, which is waited for.
func (w *world) said(words string) string {
	w.Helper()
	for line := range strings.Lines(w.events(words)) {
		if strings.Contains(line, words) {
			return line
		}
	}
	return ""
}

// events are all that the engine tells of, up to some words at the least.
func (w *world) events(last string) string {
	w.Helper()
	b := w.begin("engine") // writes its events, the old ones first
	b.tells(last)
	w.kill(b.pid)
	if err := <-b.end; err == nil {
		w.Error("archetype engine ended by itself")
	}
	return b.out.String()
}

// Where the holder of the nodes may not open as many files as they need, those
// run that it has room for, the others say why not, and whoever asks is answered.
func TestHolderHasNoRoomForAllNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asRoot)
	w.ok("deploy", w.file("big.clab.yml", ring("big", 2)), "--network", "veth")
	holder := w.holder()
	var lim unix.Rlimit
	lim.Cur = uint64(len(names(fmt.Sprintf("/proc/%d/fd", holder)))) + 60
	lim.Max = lim.Cur
	must(t, unix.Prlimit(holder, unix.RLIMIT_NOFILE, &lim, nil))
	if r := w.code(1, "deploy", w.file("big.clab.yml", ring("big", 100))); !strings.Contains(r.err+r.out, "too many open files (give this user more open files, with ulimit -n)") {
		t.Errorf("it is not said why: %s", r)
	}
	w.ok("engine", "stop") // which the holder is asked for
	w.await("some to run and the others to say why not", func() bool {
		running, told := 0, 0
		for _, n := range w.inspect("big").Nodes {
			if n.Actual == "running" {
				running++
			} else if strings.Contains(n.Error, "too many open files") {
				told++
			}
		}
		return running >= 3 && told >= 3
	})
	w.ok("destroy", "big", "--yes")
}
