package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/libvirt/libvirttest"
)

// containerHands are what is done to containers past the program.
func containerHands(t *testing.T, p *pair, e *enginetest.Engine, cli *client.Client) []hand {
	ctx := t.Context()
	p.owns = func() []string {
		var out []string
		list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Items {
			out = append(out, strings.TrimPrefix(c.Names[0], "/"))
		}
		return out
	}
	to := func(verb string, do func(o *torture, name string) error) hand {
		return func(o *torture) string {
			names := p.owns()
			if len(names) == 0 {
				return ""
			}
			if name := pick(o, names); do(o, name) == nil {
				return verb + " " + name
			}
			return ""
		}
	}
	return []hand{
		to("kill", func(_ *torture, name string) error {
			_, err := cli.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: "KILL"})
			return err
		}),
		to("remove", func(_ *torture, name string) error {
			_, err := cli.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true})
			return err
		}),
		to("pause", func(_ *torture, name string) error {
			_, err := cli.ContainerPause(ctx, name, client.ContainerPauseOptions{})
			return err
		}),
		to("rename", func(o *torture, name string) error {
			_, err := cli.ContainerRename(ctx, name, client.ContainerRenameOptions{NewName: fmt.Sprintf("other%d", o.random.IntN(1000))})
			return err
		}),
		to("restart", func(_ *torture, name string) error {
			none := 0
			_, err := cli.ContainerRestart(ctx, name, client.ContainerRestartOptions{Timeout: &none})
			return err
		}),
		func(o *torture) string {
			if o.random.IntN(3) != 0 || e.Name != "docker" { // it takes long, and Podman's daemon holds nothing
				return ""
			}
			e.Kill()
			reapOrphans()
			return again(o, "the containers' engine", e.Start)
		},
	}
}

// machineHands are what is done to virtual machines past the program.
func machineHands(t *testing.T, p *pair, d *libvirttest.Daemon) []hand {
	p.owns = d.Domains
	to := func(words ...string) hand {
		return func(o *torture) string {
			names := d.Domains()
			if len(names) == 0 {
				return ""
			}
			name := pick(o, names)
			if exec.CommandContext(t.Context(), "virsh", append([]string{"-q", "-c", d.URI()}, append(words, name)...)...).Run() != nil {
				return ""
			}
			return strings.Join(words, " ") + " " + name
		}
	}
	return []hand{to("destroy"), to("suspend"), to("undefine"), to("reset"), func(o *torture) string {
		d.Stop()
		return again(o, "libvirtd", func(context.Context) error { d.Run(); return nil })
	}}
}

// switchHands are what is done to Open vSwitch past the program.
func switchHands(t *testing.T, s *ovstest.Switch) []hand {
	to := func(verb string, do func(o *torture, port string)) hand {
		return func(o *torture) string {
			ours := portsOf(t, s)
			if len(ours) == 0 {
				return ""
			}
			port := pick(o, ours)
			do(o, port.name)
			return fmt.Sprintf("%s: the switch's port %s of %s/%s", verb, port.name, port.lab, port.end)
		}
	}
	return []hand{
		to("another tag", func(o *torture, port string) {
			s.Ctl("--if-exists", "set", "Port", port, fmt.Sprintf("tag=%d", 1+o.random.IntN(4094)))
		}),
		to("no tag", func(_ *torture, port string) { s.Ctl("--if-exists", "clear", "Port", port, "tag") }),
		to("removal", func(_ *torture, port string) { s.Ctl("--if-exists", "del-port", port) }),
		func(o *torture) string {
			s.Kill("ovs-vswitchd")
			time.Sleep(time.Duration(o.random.IntN(1000)) * time.Millisecond)
			return again(o, "ovs-vswitchd", func(context.Context) error { s.StartSwitch(); return nil })
		},
		func(o *torture) string {
			s.Kill("ovsdb-server")
			time.Sleep(time.Duration(o.random.IntN(1000)) * time.Millisecond)
			return again(o, "ovsdb-server", func(context.Context) error { s.StartDatabase(); return nil })
		},
	}
}
