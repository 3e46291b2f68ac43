package ui_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"archetype/internal/uitest"
)

// hostile is a stand-in for a device that means harm: every line of its boot
// log, and what it prints on its console, tells the terminal to do something.
const hostile = `
name: hostile
description: stand-in of the tests, no real device
providers: [netns]
interfaces: {any: true}
console: {method: shell, shell: [sh]}
readiness: {probe: log, pattern: 'Router is up', timeout: 60s}
progress: [{text: half, percent: 50}]
embedded:
  processes:
    - name: boot
      command: [sh, -c, 'cat /mnt/attack; sleep 0.1; echo Router is up']
`

// attack has the clipboard, a title, a link, the alternate screen, a question
// whose answer would be typed, a status of the printer, C1, sixel, text that
// runs backwards, and a sequence that never ends.
const attack = "\x1b]52;c;QVRUQUNL\x07\x1b]0;EVIL-TITLE\x07\x1b]8;;http://evil.example\x1b\\li\x1b]8;;\x1b\\nk\u009d52;c;QVRUQUNL\u009c" +
	"\x1b[?1049l\x1b[6n\x1b[5i\u009b2J\x1bPq#0;2;0;0;0~~\x1b\\\x1b_EVIL-APC\x1b\\\x1bc\x9b\u202ekcab\u202c"

// harm is what no terminal may be told.
var harm = regexp.MustCompile("\x1b\\]52|\u009d|\u009b|EVIL|evil|\x1b\\[6n|\x1b\\[5i|\x1bP|\x1b_|\x1bc|QVRU|\u202e")

// However loudly a device shouts, the user's terminal hears nothing of it:
// not by the verbs, not by a pane, not by a console of the workbench.
func TestHostileDevice(t *testing.T) {
	t.Parallel()
	h := uitest.NewHome(t)
	dir := filepath.Join(h.Dir, "config", "vendors")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hostile.clab.yml")
	for name, text := range map[string]string{
		filepath.Join(dir, "hostile.yaml"):           hostile,
		filepath.Join(filepath.Dir(file), "attack"):  "half " + attack + "way\nsecond\rline " + attack + "\nunended \x1b]0;EVIL-TITLE\nlast line\n",
		filepath.Join(filepath.Dir(file), "failing"): "echo '" + attack + "broken' >&2\nexit 3\n",
		file: "name: hostile\ntopology:\n  nodes:\n    a: {kind: hostile, binds: ['attack:/mnt/attack']}\n" +
			"    b: {kind: linux, image: \"x" + `\u009b2J\u202e` + "y\", binds: ['failing:/mnt/failing'], exec: ['sh /mnt/failing']}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(what string, args ...string) {
		t.Helper()
		out, _ := h.Command(args...).CombinedOutput()
		if !strings.Contains(string(out), what) {
			t.Errorf("%v does not say %q: %q", args, what, out)
		}
		if m := harm.Find(out); m != nil {
			t.Errorf("%v prints %q: %q", args, m, out)
		}
	}
	u := uitest.Open(t, uitest.Setup{Home: h, File: file}).Sees("hostile", "● a")
	said("kcabway\nsecond\nline link", "logs", "hostile", "a")
	said("half linkkcabway", "inspect", "hostile")
	said(`"progress_text":"half linkkcabway`, "inspect", "hostile", "--json")
	said("broken", "logs", "hostile", "b")
	said("no lab", "inspect", attack)
	said("attack", "deploy", "/none"+attack+"attack")
	raw, _ := h.Command("logs", "hostile", "a", "--raw").Output()
	if !strings.Contains(string(raw), attack) {
		t.Errorf("logs --raw: %q", raw)
	}

	u.Presses("L").Sees("log of a", "half linkkcabway", "last line").Presses("Escape").Sees("1 topology")
	u.Types(":info b").Presses("Enter").Sees("identifier").Presses("q").SeesNot("identifier").Presses("4").Sees("J jobs").Presses("1")
	u.Types(":console a").Presses("Enter").Sees("ctrl+] q back").Types("head -n 1 /mnt/attack; echo d\"on\"e").Presses("Enter").Sees("done")
	if m := harm.FindString(u.Written()); m != "" {
		t.Errorf("the workbench wrote %q", m)
	}
	if title := u.Terminal("pane_title"); title != "archetype: hostile" {
		t.Errorf("the title is %q", title)
	}
	if b := u.Buffers(); b != "" {
		t.Errorf("the clipboard has %q", b)
	}
}
