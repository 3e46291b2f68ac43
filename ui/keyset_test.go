package ui_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"archetype/internal/uitest"
)

// An action has another key, and folders are elsewhere: both count at once, are
// kept, and keys can be as usual again.
func TestKeysAndFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "keyed"), Size: "120x40"})
	u.Sees("2/2 running", "r restart").Presses(",").Sees("key set", "the usual", "topologies", "disk images")
	u.ClicksOn("key set").Sees("each of which can have another one").Presses("Enter").Sees("the key of which action?").Types("restart").Presses("Enter").Sees("Press the key for it")
	u.Presses("s").Sees("is the key of").Presses("Enter").Sees("the key of which action?").Types("restart").Presses("Enter").Sees("Press the key for it").Presses("j").Sees("for moving about")
	u.Presses("Enter").Sees("the key of which action?").Types("restart").Presses("Enter").Sees("Press the key for it").Presses("K").Sees("restart has the key K", "1 changed")
	u.Presses("Enter").Sees("the key of which action?").Types("cut").Presses("Enter").Sees("Press the key for it").Presses("u").Sees("cut has the key u", "2 changed")
	u.ClicksOn("topologies").Sees("where new ones are written").Presses("Enter").Presses("C-u").Types(dir).Presses("Enter").Sees("topology files are in " + dir)
	u.Presses("Escape").Sees("K restart").Presses("K").Sees("restart a: done").Presses("O").Sees("which shape?").Presses("Enter").Sees(filepath.Join(dir, "line.clab.yml")).Presses("Escape").SeesNot("a new line")
	u.Presses("3", "Enter").Sees("u cuts it, c joins it").Presses("Escape").SeesNot("u cuts it").Presses("1")
	text, err := os.ReadFile(filepath.Join(u.Home.Dir, "config", "settings.yaml"))
	if err != nil || !strings.Contains(string(text), "restart: K") || !strings.Contains(string(text), "topologies: "+dir) {
		t.Errorf("the settings are %s: %v", text, err)
	}
	u.Presses("q").Sees("left with 0")
	again := uitest.Open(t, uitest.Setup{Home: u.Home, File: pair(t, "keyed"), Size: "120x40"})
	again.Sees("K restart").Presses(",").ClicksOn("key set").Sees("can have another one").Presses("Enter").Sees("all as usual").Presses("Enter").Sees("all keys are as usual").Presses("Escape").Sees("r restart")
}
