package ui_test

import (
	"syscall"
	"testing"

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
	second.Sees("2/2 running", "1/1 links up").Presses("2", "z").SeesNot("1 topology")
	first.Presses("x").Sees("0/1 links up")
	second.Sees("0/1 links up")

	// The one that has started everything is left: nothing happens.
	first.Presses("q").Sees("goes on running", "left with 0")
	second.Sees("0/1 links up").SeesNot("1 topology")
	if now := second.Home.PID("engine --serve"); now != engine {
		t.Errorf("the engine was %d and is %d", engine, now)
	}

	// The engine is killed: the second starts one, which takes over the store.
	end := func(words string) {
		t.Helper()
		pid := second.Home.PID(words)
		if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			t.Fatalf("%s does not run", words)
		}
	}
	end("engine --serve")
	second.Sees("no engine").SeesNot("no engine").Sees("2/2 running", "0/1 links up").SeesNot("1 topology")
	second.Presses("c").Sees("1/1 links up").SeesNot("1 topology")

	// With the holder its nodes end; they are made again, for the second and
	// for who comes then.
	end("archetype holder")
	second.Sees("no engine").SeesNot("no engine").Sees("2/2 running", "1/1 links up").SeesNot("1 topology")
	third := uitest.Open(t, uitest.Setup{Home: first.Home, File: file, Size: "80x24"})
	third.Sees("2/2 running")
	second.Types(":stop a").Presses("Enter").Sees("1/2 running")
	third.Sees("1/2 running")
}
