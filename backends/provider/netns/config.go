package netns

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"archetype/backends"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/lab"
	"archetype/vendors"
)

// bootConfig turns what the topology and the kind say into what the node's
// init does.
func (p *Provider) bootConfig(n backends.NodeConfig) (json.RawMessage, error) {
	k, spec := n.Kind, n.Node
	cfg := nodeinit.Config{
		Hostname: n.Ref.Node, Folder: p.folder(n.Ref), Rootless: p.cfg.Rootless, Hosts: n.Hosts,
		Interfaces: n.Interfaces, Addresses: map[string][]netip.Prefix{}, Bridge: k.Embedded.Bridge, Groups: k.Embedded.Groups,
		Folders: k.Embedded.Folders, Exec: spec.Exec, Console: k.Console.Shell,
		Sysctls: merged(k.Sysctls, spec.Sysctls), Files: merged(k.Embedded.Files, nil),
	}
	for _, e := range n.Ends {
		if all := e.Addresses(); len(all) > 0 {
			cfg.Addresses[e.Interface] = all
		}
	}
	env := merged(k.Env, spec.Env)
	if k.InterfaceWait.EnvVar != "" {
		env[k.InterfaceWait.EnvVar] = strconv.Itoa(len(n.Interfaces))
	}
	if k.InterfaceWait.Script != "" && k.InterfaceWait.ScriptText != "" {
		cfg.Files[k.InterfaceWait.Script] = k.InterfaceWait.ScriptText
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cfg.Env = append(cfg.Env, name+"="+env[name])
	}
	config := n.Config
	if config == "" {
		config = k.StartupConfig.Default
	}
	if path := k.StartupConfig.Path; path != "" && config != "" {
		cfg.Files[path] = config
	}
	for _, m := range k.Mounts {
		if m.Source != "" && !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(cfg.Folder, m.Source)
		}
		cfg.Mounts = append(cfg.Mounts, nodeinit.Mount(m))
	}
	for _, b := range spec.Binds {
		m, err := lab.ParseBind(b)
		if err != nil {
			return nil, err
		}
		cfg.Mounts = append(cfg.Mounts, nodeinit.Mount{Source: m.Source, Target: m.Target, ReadOnly: slices.Contains(m.Options, "ro")})
	}
	var err error
	if cfg.Processes, err = processes(k, spec.Entrypoint, spec.Cmd, config); err != nil {
		return nil, err
	}
	return json.Marshal(cfg)
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// processes are the kind's, those whose condition the configuration meets,
// and then the node's or the kind's entry point.
func processes(k *vendors.Kind, entrypoint, cmd, config string) ([]nodeinit.Process, error) {
	var out []nodeinit.Process
	for _, p := range k.Embedded.Processes {
		if p.When != "" {
			re, err := regexp.Compile("(?m)" + p.When)
			if err != nil {
				return nil, fmt.Errorf("kind %s, process %s: %w", k.Name, p.Name, err)
			}
			if !re.MatchString(config) {
				continue
			}
		}
		out = append(out, nodeinit.Process{Name: p.Name, Command: p.Command, Ready: p.Ready, Restart: p.Restart})
	}
	// A topology's words are split and expanded as a shell would.
	switch {
	case entrypoint != "" || cmd != "":
		line := strings.TrimSpace(entrypoint + " " + cmd)
		out = append(out, nodeinit.Process{Name: "entrypoint", Command: []string{"/bin/sh", "-c", "exec " + line}})
	case len(k.Entrypoint)+len(k.Command) > 0:
		out = append(out, nodeinit.Process{Name: "entrypoint", Command: slices.Concat(k.Entrypoint, k.Command)})
	}
	return out, nil
}
