// Package settings knows where the program keeps its files and what the user
// has chosen.
package settings

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/adrg/xdg"
	"github.com/goccy/go-yaml"

	"archetype/internal/bounded"
	"archetype/lab"
)

// Environment variables that are heeded. All but the first two are for the
// program's own processes to hand on what they have found.
const (
	EnvHome     = "ARCHETYPE_HOME"     // folder for everything
	EnvRootless = "ARCHETYPE_ROOTLESS" // "1": as an ordinary user, even for root
	envState    = "ARCHETYPE_STATE"
	envConfig   = "ARCHETYPE_CONFIG"
)

// maxFile bounds the user's file, in bytes.
const maxFile = 1 << 20

// Settings are the user's choices and the folders in use.
type Settings struct {
	Choices
	Rootless bool // everything lives in a user namespace
	Config   string
	State    string
}

// Choices is what settings.yaml may say.
type Choices struct {
	Provider    string        `yaml:"provider"`
	Network     string        `yaml:"network"`
	Rootless    bool          `yaml:"rootless"`
	Theme       string        `yaml:"theme"`        // auto, dark, light or one of the user's own
	Glyphs      string        `yaml:"glyphs"`       // auto, utf8 or ascii
	ConsoleKey  string        `yaml:"console_key"`  // leaves a console
	BootTimeout time.Duration `yaml:"boot_timeout"` // for kinds that name none
	Drift       lab.Policy    `yaml:"drift"`        // enforce, report or ask, for labs that say nothing of it
	Retry       lab.Retry     `yaml:"retry"`
	LookEvery   time.Duration `yaml:"look_every"` // between two looks at everything, the safety net under events
	Keep        Keep          `yaml:"keep"`
	OVS         OVS           `yaml:"ovs"`
	Docker      Endpoint      `yaml:"docker"`
	Podman      Endpoint      `yaml:"podman"`
	Libvirt     Libvirt       `yaml:"libvirt"`
	Engine      Engine        `yaml:"engine"`
	Folders     Folders       `yaml:"folders"`
	// Keys are those of the screen's actions that are other than usual.
	Keys map[string]string `yaml:"keys"`
}

// Folders are where files are kept, as whole paths; empty: where they usually are.
type Folders struct {
	Topologies string `yaml:"topologies"`
	Configs    string `yaml:"configs"`
}

// Engine says where the engine is reached and by whom.
type Engine struct {
	// Socket is a place that others reach, too; empty: in the user's own folder.
	// Who does not own the socket's folder uses the engine there, and starts none.
	Socket string `yaml:"socket"`
	Group  string `yaml:"group"` // whose members may use it, besides its own user and root
}

// Keep is how much history is kept.
type Keep struct {
	Jobs   int `yaml:"jobs"`
	Events int `yaml:"events"`
	// Backups of the store that are made by themselves; 0: none are made.
	Backups int `yaml:"backups"`
	// BackupEvery is how much time is between two, while something changes.
	BackupEvery time.Duration `yaml:"backup_every"`
}

// check says which choice is none, whatever its type allows.
func (c *Choices) check() error {
	if !c.Drift.Valid() {
		return fmt.Errorf("drift cannot be %q: it is enforce, report or ask", c.Drift)
	}
	for _, f := range []struct{ key, is string }{{"folders.topologies", c.Folders.Topologies}, {"folders.configs", c.Folders.Configs}} {
		if f.is != "" && !filepath.IsAbs(f.is) {
			return fmt.Errorf("%s cannot be %q: it is a whole path, such as /home/me/labs", f.key, f.is)
		}
	}
	r := c.Retry
	for _, d := range []struct {
		key  string
		is   time.Duration
		from time.Duration
	}{{"boot_timeout", c.BootTimeout, time.Second}, {"retry.first", r.First, 100 * time.Millisecond}, {"retry.cap", r.Cap, r.First},
		{"retry.rest", r.Rest, time.Second}, {"retry.healthy", r.Healthy, time.Second}, {"look_every", c.LookEvery, time.Second},
		{"keep.backup_every", c.Keep.BackupEvery, time.Second}} {
		if d.is < d.from || d.is > 24*time.Hour {
			return fmt.Errorf("%s cannot be %s: it is from %s to 24h", d.key, d.is, d.from)
		}
	}
	for _, n := range []struct {
		key          string
		is, from, to int
	}{{"retry.tries", r.Tries, 1, 1000}, {"keep.jobs", c.Keep.Jobs, 10, 100_000}, {"keep.events", c.Keep.Events, 100, 1_000_000},
		{"keep.backups", c.Keep.Backups, 0, 1000}} {
		if n.is < n.from || n.is > n.to {
			return fmt.Errorf("%s cannot be %d: it is from %d to %d", n.key, n.is, n.from, n.to)
		}
	}
	return nil
}

// OVS says how Open vSwitch is used.
type OVS struct {
	Mode   string `yaml:"mode"`   // shared: one bridge for all labs; dedicated: one a lab
	Bridge string `yaml:"bridge"` // name of the shared one
	Socket string `yaml:"socket"` // of ovsdb-server
	// Datapath of bridges that are made: auto (the kernel's where it has one),
	// kernel or userspace.
	Datapath string `yaml:"datapath"`
}

// Libvirt says where virtual machines are run.
type Libvirt struct {
	// URI is such as qemu:///system, with ?socket=/path where libvirt listens
	// at no usual place; empty: this machine's.
	URI string `yaml:"uri"`
}

// Endpoint says where a container engine is reached.
type Endpoint struct {
	Host string `yaml:"host"` // such as unix:///run/docker.sock; empty: as the engine's own command line finds it
}

// Defaults are the choices of a user who has made none.
func Defaults() Choices {
	return Choices{Provider: "netns", Network: "linuxbridge", Theme: "auto", Glyphs: "auto",
		ConsoleKey: "ctrl+]", BootTimeout: lab.DefaultBootTimeout, Drift: lab.PolicyEnforce,
		Retry: lab.DefaultRetry(), LookEvery: lab.DefaultLookEvery,
		Keep: Keep{Jobs: 500, Events: 5000, Backups: 5, BackupEvery: 10 * time.Minute},
		OVS:  OVS{Mode: "shared", Bridge: "arch0", Socket: "/var/run/openvswitch/db.sock", Datapath: "auto"}}
}

// Load finds the folders and reads the user's choices. An error in the file
// names the line.
func Load() (*Settings, error) {
	s := &Settings{Choices: Defaults()}
	if home := os.Getenv(EnvHome); home != "" {
		home, err := filepath.Abs(home)
		if err != nil {
			return nil, err
		}
		s.Config, s.State = filepath.Join(home, "config"), filepath.Join(home, "state")
	} else {
		config, state := xdg.ConfigHome, xdg.StateHome
		if home := rootsOwn(state); home != "" {
			config, state = filepath.Join(home, ".config"), filepath.Join(home, ".local", "state")
		}
		s.Config, s.State = filepath.Join(config, "archetype"), filepath.Join(state, "archetype")
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	s.Rootless = os.Geteuid() != 0 || s.Choices.Rootless
	if v := os.Getenv(EnvRootless); v != "" {
		s.Rootless = v == "1" || os.Geteuid() != 0
	}
	if os.Geteuid() == 0 && s.Rootless {
		s.State = filepath.Join(s.State, "rootless") // root's two worlds do not share a store
	}
	s.State = either(os.Getenv(envState), s.State)
	return s, nil
}

// settle takes the folders by the one name that they have however they are
// reached, since what is made is marked with it, and refuses another user's.
func (s *Settings) settle() error {
	for _, dir := range []*string{&s.Config, &s.State} {
		real, err := resolved(*dir)
		if err != nil {
			return err
		}
		*dir = real
		// What is in ARCHETYPE_HOME itself may be replaced by its owner, too.
		for _, d := range []string{real, either(os.Getenv(EnvHome), real)} {
			if err := ownFolder(d); err != nil {
				return err
			}
		}
	}
	s.Config = either(os.Getenv(envConfig), s.Config)
	return nil
}

// resolved is a folder's name without symbolic links, whether it is there yet or not.
func resolved(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
		if errors.Is(err, os.ErrPermission) { // whoever uses it will be told
			return dir, nil
		}
		return real, err
	}
	if _, err := os.Lstat(dir); err == nil {
		return "", fmt.Errorf("%s is a link that leads nowhere", dir)
	}
	parent, err := resolved(filepath.Dir(dir))
	return filepath.Join(parent, filepath.Base(dir)), err
}

// ownFolder refuses a folder of somebody else, or where one of ours would be made
// in such: its owner could change what is kept there and what is run by it. Root
// may use any, and any may use root's.
func ownFolder(dir string) error {
	var st syscall.Stat_t
	for errors.Is(syscall.Stat(dir, &st), os.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	if os.Geteuid() == 0 || st.Nlink == 0 || st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return nil
	}
	name := "user " + strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
		name = u.Username
	}
	return fmt.Errorf("%s belongs to %s, who could change what you keep and run there: set %s to a folder of your own", dir, name, EnvHome)
}

// rootsOwn is root's home where root has been given another user's, as sudo may
// do: what root made there that user could neither use nor remove. Empty: what
// there is will do.
func rootsOwn(dir string) string {
	if os.Geteuid() != 0 {
		return ""
	}
	for ; ; dir = filepath.Dir(dir) {
		var st syscall.Stat_t
		if err := syscall.Stat(dir, &st); errors.Is(err, os.ErrNotExist) && dir != "/" {
			continue
		} else if err != nil || st.Uid == 0 {
			return ""
		}
		root, err := user.LookupId("0")
		if err != nil {
			return ""
		}
		return root.HomeDir
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// File is where the user's choices are.
func (s *Settings) File() string { return filepath.Join(s.Config, "settings.yaml") }

func (s *Settings) read() error {
	data, err := bounded.ReadFile(s.File(), maxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := decode(data, &s.Choices); err != nil {
		return fmt.Errorf("%s: %s", s.File(), yaml.FormatError(err, false, true))
	}
	switch e := s.Engine; {
	case e.Socket != "" && !filepath.IsAbs(e.Socket):
		return fmt.Errorf("%s: engine.socket: %s is not a whole path, such as /run/archetype/engine.sock", s.File(), e.Socket)
	case e.Group != "" && e.Socket == "":
		return fmt.Errorf("%s: engine.group needs engine.socket: a place that the group reaches, such as /run/archetype/engine.sock", s.File())
	}
	return nil
}

// Run is the folder of the program's own sockets.
func (s *Settings) Run() string { return filepath.Join(s.State, "run") }

// Socket is where the engine is reached.
func (s *Settings) Socket() string {
	return either(s.Engine.Socket, filepath.Join(s.Run(), "engine.sock"))
}

// Guest says that the engine is somebody else's: it is used, and not started,
// ended or looked after.
func (s *Settings) Guest() bool {
	if s.Engine.Socket == "" {
		return false
	}
	var st syscall.Stat_t
	err := syscall.Stat(filepath.Dir(s.Socket()), &st)
	// A folder that is not there is made by whom the engine is to belong to.
	return err == nil && int(st.Uid) != os.Geteuid()
}

// Database is the store's file.
func (s *Settings) Database() string { return filepath.Join(s.State, "archetype.db") }

// Labs is the folder of the nodes' folders.
func (s *Settings) Labs() string { return filepath.Join(s.State, "labs") }

// Used is the folder that says what labs were made with.
func (s *Settings) Used() string { return filepath.Join(s.State, "used") }

// BootTimes is the file that remembers how long boots took.
func (s *Settings) BootTimes() string { return filepath.Join(s.State, "boot-times.json") }

// Log is what the engine has to say when nobody looks.
func (s *Settings) Log() string { return filepath.Join(s.State, "engine.log") }

// Images is the folder of the disks that virtual machines are made from.
func (s *Settings) Images() string { return filepath.Join(s.State, "images") }

// Vendors is the folder of the user's own kinds.
func (s *Settings) Vendors() string { return filepath.Join(s.Config, "vendors") }

// Themes is the folder of the user's own themes.
func (s *Settings) Themes() string { return filepath.Join(s.Config, "themes") }

// Configs is the folder where configurations of nodes are kept.
func (s *Settings) Configs() string {
	return either(s.Folders.Configs, filepath.Join(s.State, "configs"))
}

// Environment hands these settings on to a process of ours, which may find
// itself with another user ID.
func (s *Settings) Environment() []string {
	rootless := "0"
	if s.Rootless {
		rootless = "1"
	}
	return []string{envConfig + "=" + s.Config, envState + "=" + s.State, EnvRootless + "=" + rootless}
}
