package ui_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"archetype/internal/uitest"
)

// A lab is made by its shape: what is wrong is said in the form, the file is
// written once and never over another, and labs are switched from the head.
func TestNewLab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "fab.clab.yml")
	u := uitest.Open(t, uitest.Setup{Size: "80x24"})
	u.Sees("No lab is deployed", "n new lab").Presses("n").Sees("a new lab of which shape?", "clos").Types("clos").Presses("Enter").Sees("a new clos", "spines", "leaves")
	u.Types("x").Presses("Enter").Sees("is no number").Presses("C-u").SeesNot("is no number").Types("1").Presses("Tab", "C-u").Types("2")
	u.Presses("Tab", "Tab", "C-u").Types("linus").Presses("Tab", "C-u").Types("fab").Sees("fab.clab.yml").Presses("Tab", "C-u").Types(file)
	u.Presses("Enter").Sees("unknown kind", "did you mean")
	if _, err := os.Stat(file); err == nil {
		t.Error("a file that is no good was left")
	}
	u.Presses("Up", "Up", "C-u").Types("linux").Presses("Enter").Sees("fab", "5/5 running", "4/4 links up")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `["leaf2:eth2", "host2:eth1"]`) {
		t.Errorf("the file is %s: %v", text, err)
	}
	u.Presses("O").Sees("which shape?").Types("line").Presses("Enter").Sees("a new line").Presses("Tab", "Tab", "C-u").Types("other").Presses("Tab", "C-u").Types(file).Presses("Enter").Sees("file exists")
	u.Presses("C-u").Types(filepath.Join(dir, "other.yml")).Presses("Enter").Sees("other", "3/3 running")
	u.Presses("B").Sees("go to which lab?", "5/5 running").Presses("Enter").Sees("fab ▾  5/5 running")
	u.ClicksOn("fab ▾").Sees("go to which lab?").Presses("Enter").Sees("other ▾  3/3 running")
}

// What a console shows is recorded as words, copied line by line, and there
// again when the console was closed.
func TestConsoleIsRecordedCopiedAndKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "said.log")
	u := uitest.Open(t, uitest.Setup{File: pair(t, "said"), Size: "100x30"})
	u.Sees("2/2 running").Presses("Enter").Sees("root@a")
	u.Presses("C-]").Sees("r record", "y copy", "w close").Presses("r").Sees("record a").Presses("C-u").Types(file).Presses("Enter").Sees("recording to")
	u.Types(`printf '\033[31mso\155e words\033[0m\n'`).Presses("Enter").Sees("some words\n")
	u.Types(`printf 'al\303\274\bso\n'`).Presses("Enter").Sees("also\n") // taken back is a letter, however many bytes it has
	u.Presses("C-]").Sees("r record").Presses("r").Sees("recorded to").Types("echo af\"\"terwards").Presses("Enter").Sees("afterwards\n")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "\nsome words\n") || !strings.Contains(string(text), "\nalso\n") || strings.ContainsAny(string(text), "\x1b\r") || strings.Contains(string(text), "afterwards") {
		t.Errorf("it recorded %q: %v", text, err)
	}
	u.Presses("C-]").Sees("r record").Presses("r").Sees("record a").Presses("C-u").Types(file).Presses("Enter").Sees("file exists")
	u.Presses("C-]").Sees("y copy").Presses("y").Sees("v from here").Presses("k", "v", "k").Presses("y").Sees("2 lines copied")
	want := base64.StdEncoding.EncodeToString([]byte(`root@a:~# echo af""terwards` + "\nafterwards"))
	if out := u.Written(); !strings.Contains(out, want) {
		t.Errorf("the terminal was not given the lines (%s)", want)
	}
	u.Presses("C-]").Sees("w close").Presses("w").Sees("1 topology").Presses("Enter").Sees("some words\n", "afterwards\n", "a: console opened again")
}

// The lab that is chosen among all labs stays chosen when another comes before
// it: what is asked for next is asked of that one.
func TestChosenLabStaysChosen(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "middle"), Size: "80x24"})
	u.Sees("2/2 running").Presses("b").Sees("1 lab on this machine", "▌ middle")
	other := uitest.Open(t, uitest.Setup{Home: u.Home, File: pair(t, "above"), Size: "80x24"})
	other.Sees("above ▾  2/2 running")
	u.Sees("2 labs on this machine", "▌ middle").Presses(",").Sees("2 labs on this machine", "lab middle")
	u.Presses("Escape").Sees("▌ middle").Presses("k").Sees("▌ above").Presses("Enter").Sees("above ▾  2/2 running").Presses("b").Sees("▌ above")
}
