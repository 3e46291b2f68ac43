package settings_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"archetype/settings"
)

func home(t *testing.T, file string) string {
	dir := t.TempDir()
	t.Setenv(settings.EnvHome, dir)
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config", "settings.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestChoices(t *testing.T) {
	dir := home(t, "network: veth\nboot_timeout: 90s\n")
	s, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.Network != "veth" || s.BootTimeout.Seconds() != 90 || s.Provider != settings.Defaults().Provider {
		t.Errorf("%+v", s.Choices)
	}
	if !strings.HasPrefix(s.Socket(), dir) || !strings.HasPrefix(s.Vendors(), dir) {
		t.Errorf("folders outside of the home: %s %s", s.Socket(), s.Vendors())
	}
}

func TestMistakesNameTheirPlace(t *testing.T) {
	for file, want := range map[string]string{
		"networks: veth\n":   "networks",
		"network: [1\n":      "1:",
		"boot_timeout: soon": "soon",
	} {
		home(t, file)
		if _, err := settings.Load(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "settings.yaml") {
			t.Errorf("%q: %v", file, err)
		}
	}
	home(t, "")
	if _, err := settings.Load(); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestRootlessStateIsApart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has two")
	}
	home(t, "")
	a, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(settings.EnvRootless, "1")
	b, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	if a.Rootless || !b.Rootless || a.State == b.State {
		t.Errorf("%+v %+v", a, b)
	}
	for _, e := range b.Environment() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	if c, err := settings.Load(); err != nil || !reflect.DeepEqual(*c, *b) {
		t.Errorf("handed on: %+v, %v", c, err)
	}
}

// Root with another user's home, as sudo may give it, leaves that home alone.
func TestAnotherUsersHomeIsLeftAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if os.Getenv("SETTINGS_TEST_HOME") != "" {
		s, err := settings.Load()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("state is", s.State, "config is", s.Config)
		return
	}
	for owner, own := range map[int]bool{0: true, 65534: false} {
		home := t.TempDir()
		if err := os.Chown(home, owner, owner); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run", "TestAnotherUsersHomeIsLeftAlone", "-test.v")
		cmd.Env = []string{"HOME=" + home, "SETTINGS_TEST_HOME=1"}
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), home) != own {
			t.Errorf("the home of %d: %v, %s", owner, err, out)
		}
	}
}

// However a folder is reached it has one name, with which all is marked that is
// made, also before it is there.
func TestFoldersHaveOneName(t *testing.T) {
	dir := home(t, "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	direct, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []bool{false, true} {
		t.Setenv(settings.EnvHome, link)
		linked, err := settings.Load()
		if err != nil || linked.State != direct.State || linked.Config != direct.Config {
			t.Errorf("there is state: %v; %+v, %v", made, linked, err)
		}
		if err := os.MkdirAll(direct.State, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := settings.Load(); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a link to nothing: %v", err)
	}
}
