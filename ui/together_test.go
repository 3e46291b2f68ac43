package ui_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/internal/uitest"
)

// Two workbenches on one machine: what one does the other shows, and the one
// that stays goes on with its screen as it was, whatever ends: the workbench
// that began, the engine, or the holder.
func TestHandOver(t *testing.T) {
	t.Parallel()
	file := pair(t, "shared")
	first := uitest.Open(t, uitest.Setup{File: file, Size: "100x30"})
	first.Sees("2/2 running", "1/1 links up")
	engine := first.Home.PID("engine --serve")
	second := uitest.Open(t, uitest.Setup{Home: first.Home, File: file, Size: "160x50"})
	second.Sees("2/2 running", "1/1 links up").Presses("2", "z").SeesNot("detail")
	first.Presses("x").Sees("0/1 links up")
	second.Sees("0/1 links up")

	// The one that has started everything is left: nothing happens.
	first.Presses("q").Sees("goes on running", "left with 0")
	second.Sees("0/1 links up").SeesNot("detail")
	if now := second.Home.PID("engine --serve"); now != engine {
		t.Errorf("the engine was %d and is %d", engine, now)
	}

	// The engine is killed: the second starts one, which takes over the store.
	// The holder, which starts it, is kept from that until the screen has
	// told; so nothing depends on who is quicker.
	send := func(words string, sig syscall.Signal) {
		t.Helper()
		if pid := second.Home.PID(words); pid == 0 || syscall.Kill(pid, sig) != nil {
			t.Fatalf("%s does not run", words)
		}
	}
	send("archetype holder", syscall.SIGSTOP)
	defer func() {
		if pid := second.Home.PID("archetype holder"); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	send("engine --serve", syscall.SIGKILL)
	second.Sees("no engine")
	send("archetype holder", syscall.SIGCONT)
	second.SeesNot("no engine").Sees("2/2 running", "0/1 links up").SeesNot("detail")
	second.Presses("c").Sees("1/1 links up").SeesNot("detail")

	// With the holder its nodes end; they are made again, for the second and
	// for who comes then.
	var lock *os.File
	for _, place := range []string{"state/rootless", "state"} { // as root, and as an ordinary user
		if f, err := os.OpenFile(filepath.Join(first.Home.Dir, place, "run", "holder.lock"), os.O_RDWR, 0); err == nil {
			lock = f
			break
		}
	}
	if lock == nil {
		t.Fatal("the holder has no lock")
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	send("archetype holder", syscall.SIGKILL)
	second.Sees("no engine")
	_ = lock.Close()
	second.SeesNot("no engine").Sees("2/2 running", "1/1 links up").SeesNot("detail")
	third := uitest.Open(t, uitest.Setup{Home: first.Home, File: file, Size: "80x24"})
	third.Sees("2/2 running")
	second.Types(":stop a").Presses("Enter").Sees("1/2 running")
	third.Sees("1/2 running")
}
