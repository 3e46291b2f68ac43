package settings_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"archetype/lab"
	"archetype/settings"
)

// TestSetKeepsTheRest: one choice changes, in the file and at the next start;
// comments, other keys and their order stay.
func TestSetKeepsTheRest(t *testing.T) {
	dir := home(t, "# mine\nnetwork: veth # for speed\n\n# how long\nboot_timeout: 90s\novs:\n  bridge: lab0 # ours\n")
	s, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"theme": "light", "network": "linuxbridge", "ovs.mode": "dedicated",
		"docker.host": "unix:///x y", "console_key": "ctrl+]", "boot_timeout": "2m0s", "drift": "ask", "retry.tries": "3", "retry.rest": "10m", "look_every": "15s",
		"keys.restart": "7", "folders.topologies": "/labs"} {
		if err := s.Set(key, value); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	again, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Defaults()
	want.Theme, want.Network, want.BootTimeout, want.Docker.Host = "light", "linuxbridge", 2*time.Minute, "unix:///x y"
	want.Drift, want.Retry.Tries, want.Retry.Rest = lab.PolicyAsk, 3, 10*time.Minute
	want.LookEvery = 15 * time.Second
	want.Keys, want.Folders.Topologies = map[string]string{"restart": "7"}, "/labs"
	want.OVS.Mode, want.OVS.Bridge = "dedicated", "lab0"
	if !reflect.DeepEqual(again.Choices, want) || !reflect.DeepEqual(s.Choices, want) {
		t.Errorf("got %+v and %+v\nwant %+v", again.Choices, s.Choices, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config", "settings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{"# mine", "# how long", "# ours"} {
		if !strings.Contains(string(text), keep) {
			t.Errorf("%q is gone:\n%s", keep, text)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "config")); len(entries) != 1 {
		t.Errorf("files are left beside it: %v", entries)
	}
}

// TestSetRefuses: a value that cannot be read again is not written.
func TestSetRefuses(t *testing.T) {
	const text = "theme: light\n"
	dir := home(t, text)
	s, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][2]string{{"boot_timeout", "soon"}, {"drift", "pray"}, {"retry.tries", "0"}, {"retry.tries", "many"}, {"retry.cap", "1ms"}, {"keep.jobs", "-1"}, {"themes", "dark"}, {"ovs.moode", "shared"}} {
		if err := s.Set(bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), strings.Split(bad[0], ".")[0]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if now, err := os.ReadFile(filepath.Join(dir, "config", "settings.yaml")); err != nil || string(now) != text {
		t.Errorf("the file has changed: %q %v", now, err)
	}
	for _, first := range []string{"", "# only a comment\n"} {
		home(t, first)
		s, err := settings.Load()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Set("ovs.mode", "dedicated"); err != nil {
			t.Errorf("into %q: %v", first, err)
		}
		if again, err := settings.Load(); err != nil || again.OVS.Mode != "dedicated" || again.OVS.Bridge != "arch0" {
			t.Errorf("into %q: %+v %v", first, again, err)
		}
	}
}
