// Package vendors knows what each kind of device is, from data files alone:
// the built-in ones and those in the user's folder.
package vendors

import "time"

// Kind is everything Archetype knows about one kind of device. It is read
// from one YAML file; no code anywhere knows a kind by its name.
type Kind struct {
	Name        string   `yaml:"name" json:"name"`
	Aliases     []string `yaml:"aliases,omitempty" json:"aliases,omitempty"`
	Description string   `yaml:"description,omitempty" json:"description,omitempty"`
	Vendor      string   `yaml:"vendor,omitempty" json:"vendor,omitempty"`
	Source      string   `yaml:"source,omitempty" json:"source,omitempty"` // where the facts come from

	// Providers that can run the kind, best first.
	Providers []string `yaml:"providers" json:"providers"`
	Images    []string `yaml:"images,omitempty" json:"images,omitempty"` // default first

	Console      Console           `yaml:"console,omitempty" json:"console,omitzero"`
	Interfaces   Interfaces        `yaml:"interfaces,omitempty" json:"interfaces,omitzero"`
	Types        []string          `yaml:"types,omitempty" json:"types,omitempty"` // what a node's type may be; none: anything
	Env          map[string]string `yaml:"env,omitempty" json:"env,omitempty"`     // templates, as Files are
	Files        []File            `yaml:"files,omitempty" json:"files,omitempty"`
	Devices      []string          `yaml:"devices,omitempty" json:"devices,omitempty"`   // of the machine's; those that it lacks are left out
	ShmSize      int64             `yaml:"shm_size,omitempty" json:"shm_size,omitempty"` // bytes
	Capabilities []string          `yaml:"capabilities,omitempty" json:"capabilities,omitempty"`
	Privileged   bool              `yaml:"privileged,omitempty" json:"privileged,omitempty"`
	Mounts       []Mount           `yaml:"mounts,omitempty" json:"mounts,omitempty"`
	Sysctls      map[string]string `yaml:"sysctls,omitempty" json:"sysctls,omitempty"`
	Entrypoint   []string          `yaml:"entrypoint,omitempty" json:"entrypoint,omitempty"`
	Command      []string          `yaml:"command,omitempty" json:"command,omitempty"`
	Resources    Resources         `yaml:"resources,omitempty" json:"resources,omitzero"`
	StopGrace    Duration          `yaml:"stop_grace,omitempty" json:"stop_grace,omitzero"`

	Readiness     Readiness         `yaml:"readiness,omitempty" json:"readiness,omitzero"`
	Progress      []Progress        `yaml:"progress,omitempty" json:"progress,omitempty"`
	InterfaceWait InterfaceWait     `yaml:"interface_wait,omitempty" json:"interface_wait,omitzero"`
	StartupConfig StartupConfig     `yaml:"startup_config,omitempty" json:"startup_config,omitzero"`
	License       License           `yaml:"license,omitempty" json:"license,omitzero"`
	ConfigExtract ConfigExtract     `yaml:"config_extract,omitempty" json:"config_extract,omitzero"`
	Options       map[string]Option `yaml:"vendor_options,omitempty" json:"vendor_options,omitempty"`

	// Outside says that a node of the kind is a part of the machine that is
	// there already: "host", the machine itself, always; "bridge" and
	// "ovs-bridge" where the node asks for network-mode: host, else the node is
	// made as one of the lab's own.
	Outside string `yaml:"outside,omitempty" json:"outside,omitempty"`

	// Foreign says that a node of the kind is a container of that name which
	// something else runs: only links are made to it.
	Foreign bool `yaml:"foreign,omitempty" json:"foreign,omitempty"`

	// Embedded says how the kind runs as processes in namespaces. Only the
	// embedded provider reads it.
	Embedded Embedded `yaml:"embedded,omitempty" json:"embedded,omitzero"`
	// VM says how the kind runs as a virtual machine; nil where it does not.
	VM *VM `yaml:"vm,omitempty" json:"vm,omitempty"`
	// Dialogue is what to answer on the console while the device boots: that of
	// VM, once the kind is taken as one.
	Dialogue []Step `yaml:"-" json:"-"`

	// Origin is the file the kind was read from, "built-in" for those that
	// come with the program. Not part of the file.
	Origin string `yaml:"-" json:"origin,omitempty"`
}

// Console says how a person reaches the device's command line.
type Console struct {
	Method string   `yaml:"method,omitempty" json:"method,omitempty"` // shell, attach, serial or ssh
	Shell  []string `yaml:"shell,omitempty" json:"shell,omitempty"`   // for method shell: programs, with arguments after blanks; the first one found is used
	User   string   `yaml:"user,omitempty" json:"user,omitempty"`
}

// Interfaces says how the device names its interfaces and how many it has.
type Interfaces struct {
	// Pattern is the kernel's name with {n} for the number, such as "eth{n}".
	Pattern string `yaml:"pattern,omitempty" json:"pattern,omitempty"`
	First   int    `yaml:"first,omitempty" json:"first,omitempty"`
	Max     int    `yaml:"max,omitempty" json:"max,omitempty"`
	// Alias is the device's own name with {n}, such as "Ethernet{n}".
	Alias      string `yaml:"alias,omitempty" json:"alias,omitempty"`
	Management string `yaml:"management,omitempty" json:"management,omitempty"`
	// MTU is what an interface begins with in a link between nodes where the
	// topology says nothing, in bytes; 0: 1500.
	MTU int `yaml:"mtu,omitempty" json:"mtu,omitempty"`
	// Any accepts every name the kernel accepts.
	Any bool `yaml:"any,omitempty" json:"any,omitempty"`
	// Names are further names of the device's own; the first that fits counts.
	Names []InterfaceName `yaml:"names,omitempty" json:"names,omitempty"`
	// KernelNames is a regular expression for names of the kernel's that are taken
	// as they are, where a pattern does not say enough.
	KernelNames string `yaml:"kernel,omitempty" json:"kernel,omitempty"`
	// Accepts says in words what is accepted, for messages.
	Accepts string `yaml:"accepts,omitempty" json:"accepts,omitempty"`
	// Env tells the device of its interfaces by a variable.
	Env InterfaceEnv `yaml:"env,omitempty" json:"env,omitzero"`
}

// InterfaceName turns a name of the device's own into the kernel's.
type InterfaceName struct {
	Match string `yaml:"match" json:"match"` // regular expression for the whole name
	// Kernel is the kernel's name, where {1} stands for the first group of the
	// match, and {1+1} or {1-1} for the number beside it.
	Kernel string `yaml:"kernel" json:"kernel"`
}

// InterfaceEnv is a variable that lists the node's interfaces.
type InterfaceEnv struct {
	Name string `yaml:"name" json:"name"`
	// Each is what stands there for one interface: {kernel} is the kernel's
	// name of it, {path} the same with every - as /.
	Each      string `yaml:"each" json:"each"`
	Separator string `yaml:"separator,omitempty" json:"separator,omitempty"`
}

// Mount is a file or folder the kind needs inside the node.
type Mount struct {
	Source   string `yaml:"source" json:"source"` // absolute on the host, or relative to the node's own folder
	Target   string `yaml:"target" json:"target"`
	ReadOnly bool   `yaml:"read_only,omitempty" json:"read_only,omitempty"`
}

// Resources is what one node of the kind needs.
type Resources struct {
	MemoryMB int     `yaml:"memory_mb,omitempty" json:"memory_mb,omitempty"`
	CPU      float64 `yaml:"cpu,omitempty" json:"cpu,omitempty"`
}

// Readiness says when a booting node counts as running.
type Readiness struct {
	// Probe is none (running as soon as started), log (Pattern seen in the
	// log), command (Command exits with 0 and, where Pattern is given, its
	// output matches), tcp (Port takes a connection), ssh (a login over SSH
	// succeeds), dialogue (a step that is marked ready is done) or health (the
	// image's own health check succeeds).
	Probe   string   `yaml:"probe,omitempty" json:"probe,omitempty"`
	Pattern string   `yaml:"pattern,omitempty" json:"pattern,omitempty"` // regular expression
	Command []string `yaml:"command,omitempty" json:"command,omitempty"`
	Port    int      `yaml:"port,omitempty" json:"port,omitempty"` // for tcp, and for ssh where it is not 22
	// After is a regular expression for a line of the log: a command, port or
	// login is only tried once it was seen.
	After    string   `yaml:"after,omitempty" json:"after,omitempty"`
	Interval Duration `yaml:"interval,omitempty" json:"interval,omitzero"`
	Timeout  Duration `yaml:"timeout,omitempty" json:"timeout,omitzero"`
}

// Progress turns a line of the boot log into per cent. Exactly one of Text
// and Regexp is set.
type Progress struct {
	Text    string `yaml:"text,omitempty" json:"text,omitempty"`
	Regexp  string `yaml:"regexp,omitempty" json:"regexp,omitempty"`
	Percent int    `yaml:"percent" json:"percent"` // 1 to 100
	Message string `yaml:"message,omitempty" json:"message,omitempty"`
}

// InterfaceWait says how the device is kept from looking for interfaces that
// do not exist yet.
type InterfaceWait struct {
	PlatformDetectionRace bool   `yaml:"platform_detection_race,omitempty" json:"platform_detection_race,omitempty"`
	EnvVar                string `yaml:"interface_wait_env_var,omitempty" json:"interface_wait_env_var,omitempty"`
	Script                string `yaml:"interface_wait_script,omitempty" json:"interface_wait_script,omitempty"` // path in the node
	ScriptText            string `yaml:"interface_wait_script_text,omitempty" json:"interface_wait_script_text,omitempty"`
}

// StartupConfig says where a node's startup configuration goes.
type StartupConfig struct {
	Path string `yaml:"path,omitempty" json:"path,omitempty"` // in the node
	// Default is used when the topology gives none.
	Default string `yaml:"default,omitempty" json:"default,omitempty"`
	// Template says that the text, whoever gives it, is a template as that of a
	// File is.
	Template bool `yaml:"template,omitempty" json:"template,omitempty"`
	// Partial says that a configuration that stands in the topology, or whose
	// file has .partial in its name, is put into the default one, which calls it
	// .PartialCfg.
	Partial bool `yaml:"partial,omitempty" json:"partial,omitempty"`
	// Forms are others that the device does not start with: it is given such a
	// configuration by a command.
	Forms []ConfigForm `yaml:"forms,omitempty" json:"forms,omitempty"`
}

// ConfigForm is a form of startup configurations.
type ConfigForm struct {
	Match string `yaml:"match,omitempty" json:"match,omitempty"` // regular expression
	Path  string `yaml:"path,omitempty" json:"path,omitempty"`   // in the node
	// Apply is a command line that is run in the node each time it is ready.
	Apply string `yaml:"apply,omitempty" json:"apply,omitempty"`
}

// License says where a node's licence goes.
type License struct {
	Path string `yaml:"path,omitempty" json:"path,omitempty"` // in the node
	// Tell is a command that is run in the node once it is ready, for a device
	// that does not look for the file by itself.
	Tell string `yaml:"tell,omitempty" json:"tell,omitempty"`
}

// ConfigExtract says how the running configuration is read out.
type ConfigExtract struct {
	Method  string   `yaml:"method,omitempty" json:"method,omitempty"` // command or file
	Command []string `yaml:"command,omitempty" json:"command,omitempty"`
	Path    string   `yaml:"path,omitempty" json:"path,omitempty"`
	// Clean are regular expressions; matching lines are left out.
	Clean []string `yaml:"clean,omitempty" json:"clean,omitempty"`
}

// Option is a switch that only this kind has.
type Option struct {
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	Default     string `yaml:"default,omitempty" json:"default,omitempty"`
	// Env sets an environment variable to the option's value; File writes
	// Text into that path in the node when the option is "true".
	Env  string `yaml:"env,omitempty" json:"env,omitempty"`
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	Text string `yaml:"text,omitempty" json:"text,omitempty"`
}

// Embedded says how a kind runs without an image: as processes of this
// machine inside namespaces.
type Embedded struct {
	// Readiness and Progress stand in for the kind's own: its processes are
	// watched by an init of ours.
	Readiness Readiness  `yaml:"readiness,omitempty" json:"readiness,omitzero"`
	Progress  []Progress `yaml:"progress,omitempty" json:"progress,omitempty"`
	// Bridge is the name of a bridge that every interface of the node joins:
	// the node is a switch.
	Bridge string `yaml:"bridge,omitempty" json:"bridge,omitempty"`
	// Needs are programs that must be on this machine.
	Needs []Need `yaml:"needs,omitempty" json:"needs,omitempty"`
	// Processes are started in order and kept running.
	Processes []Process `yaml:"processes,omitempty" json:"processes,omitempty"`
	// Groups adds root to groups of the node's own /etc/group, for daemons
	// that insist on one.
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty"`
	// Folders are made, empty and writable, before anything starts.
	Folders []string `yaml:"folders,omitempty" json:"folders,omitempty"`
	// Files are written before anything starts; the key is the path in the node.
	Files map[string]string `yaml:"files,omitempty" json:"files,omitempty"`
}

// AsEmbedded is the kind as it is without an image: with the readiness and the
// progress that its Embedded part names.
func (k *Kind) AsEmbedded() *Kind {
	if k.Embedded.Readiness.Probe == "" {
		return k
	}
	out := *k
	out.Readiness, out.Progress = k.Embedded.Readiness, k.Embedded.Progress
	return &out
}

// Need is a program of this machine that a kind cannot do without.
type Need struct {
	Path    string `yaml:"path" json:"path"`       // absolute, or a name looked up in PATH and the sbin folders
	Package string `yaml:"package" json:"package"` // what to install to get it
}

// Process is one program of an embedded node.
type Process struct {
	Name    string   `yaml:"name" json:"name"`
	Command []string `yaml:"command" json:"command"`
	// When is a regular expression matched against the startup configuration,
	// in multi-line mode; empty means always.
	When string `yaml:"when,omitempty" json:"when,omitempty"`
	// Ready is a path that exists once the process serves; the next one
	// starts then. Empty: at once.
	Ready string `yaml:"ready,omitempty" json:"ready,omitempty"`
	// Restart starts the process again when it ends.
	Restart bool `yaml:"restart,omitempty" json:"restart,omitempty"`
}

// Duration is a time span written as "90s" or "5m".
type Duration time.Duration

// MarshalText writes the span as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "90s", "5m", "1h30m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// IsZero reports whether no span was given.
func (d Duration) IsZero() bool { return d == 0 }
