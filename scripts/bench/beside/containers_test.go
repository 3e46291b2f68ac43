package beside

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int {
		dockertest.Alone()
		return newest.Main(enginesOf{m})
	}))
}

// enginesOf runs the tests and ends the engine of Debian's release.
type enginesOf struct{ m *testing.M }

func (e enginesOf) Run() int { return dockertest.Main(e.m) }

// rounds is how often each is measured, by turns. Of them the best is told, as
// what disturbs a measurement only ever adds to it, and the one in the middle.
const rounds = 3

var newest = enginetest.Shared{Kind: dockertest.Newest}

// BenchmarkContainers deploys and destroys the same lab, with a management
// network and links by veth, with the program that ARCHETYPE names and with
// containerlab, which CONTAINERLAB names. Beside them stands the engine alone,
// asked for no more than such containers in such a network: what all three
// have in common. Run it with -benchtime=1x.
func BenchmarkContainers(b *testing.B) {
	ours, theirs := os.Getenv("ARCHETYPE"), os.Getenv("CONTAINERLAB")
	if ours == "" {
		b.Skip("ARCHETYPE names no program")
	}
	for _, at := range []struct {
		name   string
		engine *enginetest.Shared
	}{{"debian", &dockertest.Shared}, {"newest", &newest}} {
		for _, size := range []struct{ nodes, links int }{{20, 20}, {50, 100}} {
			b.Run(fmt.Sprintf("engine=%s/nodes=%d/links=%d", at.name, size.nodes, size.links), func(b *testing.B) {
				m := newMachine(b, at.engine.Get(b))
				file := m.lab(size.nodes, size.links)
				contenders := []contender{
					{"ours", func() { m.run(ours, "deploy", file, "--provider", "docker", "--network", "veth") },
						func() { m.run(ours, "destroy", "beside", "--yes") }},
					{"engine", func() { m.make(size.nodes) }, m.remove},
				}
				if theirs != "" {
					contenders = append(contenders, contender{"theirs", func() { m.run(theirs, "deploy", "-t", file) },
						func() { m.run(theirs, "destroy", "-t", file, "--cleanup") }})
				}
				took := map[string][]time.Duration{}
				timed := func(metric string, f func()) {
					began := time.Now()
					f()
					took[metric] = append(took[metric], time.Since(began))
				}
				for range rounds {
					for _, c := range contenders {
						timed(c.name+"-deploy", c.deploy)
						if n := strings.Count(m.run("docker", "ps", "-q"), "\n"); n != size.nodes {
							b.Fatalf("%s: %d of %d containers run", c.name, n, size.nodes)
						}
						timed(c.name+"-destroy", c.destroy)
						if left := m.run("docker", "ps", "-aq"); left != "" {
							b.Fatalf("%s left %s", c.name, left)
						}
					}
				}
				b.ReportMetric(0, "ns/op")
				for metric, all := range took {
					slices.Sort(all)
					b.ReportMetric(millis(all[0]), metric+"-ms")
					b.ReportMetric(millis(all[len(all)/2]), metric+"-median-ms")
				}
			})
		}
	}
}

type contender struct {
	name            string
	deploy, destroy func()
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// machine is one with a Docker engine, on which both leave nothing behind.
type machine struct {
	*testing.B
	dir string
	env []string
	cli *client.Client
}

func newMachine(b *testing.B, engine *enginetest.Engine) *machine {
	m := &machine{B: b, dir: b.TempDir()}
	var err error
	if m.cli, err = engine.Connect(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.cli.Close() })
	m.env = append(os.Environ(), "DOCKER_HOST="+engine.Host, "ARCHETYPE_HOME="+filepath.Join(m.dir, "home"), "CLAB_VERSION_CHECK=disable",
		"HOME="+m.dir)
	// What containerlab writes outside of its folder ends with this process's
	// mounts.
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		b.Fatal(err)
	}
	own := filepath.Join(m.dir, "hosts")
	if err := os.WriteFile(own, hosts, 0o644); err != nil {
		b.Fatal(err)
	}
	m.over(own, "/etc/hosts", "", unix.MS_BIND)
	for _, dir := range []string{"/etc/ssh/ssh_config.d", "/etc/containerlab"} {
		if _, err := os.Stat(dir); err == nil {
			m.over("tmpfs", dir, "tmpfs", 0)
		}
	}
	return m
}

func (m *machine) over(source, target, kind string, flags uintptr) {
	m.Helper()
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		m.Fatal(target, ": ", err)
	}
	m.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// lab is a ring, with chords where there are more links than nodes.
func (m *machine) lab(nodes, links int) string {
	m.Helper()
	var s strings.Builder
	s.WriteString("name: beside\ntopology:\n  defaults: {kind: linux, image: \"" + dockertest.Image + "\", cmd: sleep 100000, image-pull-policy: never, privileged: false}\n  nodes:\n")
	for i := range nodes {
		fmt.Fprintf(&s, "    n%d: {}\n", i)
	}
	s.WriteString("  links:\n")
	used := map[int]int{}
	port := func(n int) string {
		used[n]++
		return fmt.Sprintf("n%d:eth%d", n, used[n])
	}
	for i := range links {
		from, step := i%nodes, 1+i/nodes*7
		fmt.Fprintf(&s, "    - endpoints: [\"%s\", \"%s\"]\n", port(from), port((from+step)%nodes))
	}
	file := filepath.Join(m.dir, "beside.clab.yml")
	if err := os.WriteFile(file, []byte(s.String()), 0o600); err != nil {
		m.Fatal(err)
	}
	return file
}

func (m *machine) run(args ...string) string {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = m.dir, m.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// make asks the engine for containers in a network of two subnets, as many at
// once as the program.
func (m *machine) make(nodes int) {
	m.Helper()
	yes := true
	if _, err := m.cli.NetworkCreate(m.Context(), alone, client.NetworkCreateOptions{Driver: "bridge", EnableIPv6: &yes, IPAM: &network.IPAM{
		Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("172.20.21.0/24")}, {Subnet: netip.MustParsePrefix("3fff:172:20:21::/64")}}}}); err != nil {
		m.Fatal(err)
	}
	m.each(nodes, dockerapi.StartsAtOnce(), func(name string) error {
		made, err := m.cli.ContainerCreate(m.Context(), client.ContainerCreateOptions{Name: name,
			Config:     &container.Config{Image: dockertest.Image, Cmd: []string{"sleep", "100000"}, Hostname: name, Tty: true, OpenStdin: true},
			HostConfig: &container.HostConfig{NetworkMode: alone, CapAdd: []string{"NET_ADMIN", "SYS_ADMIN"}}})
		if err != nil {
			return err
		}
		_, err = m.cli.ContainerStart(m.Context(), made.ID, client.ContainerStartOptions{})
		return err
	})
}

// remove removes what make made.
func (m *machine) remove() {
	m.Helper()
	list, err := m.cli.ContainerList(m.Context(), client.ContainerListOptions{All: true})
	if err != nil {
		m.Fatal(err)
	}
	m.each(len(list.Items), len(list.Items), func(name string) error {
		_, err := m.cli.ContainerRemove(m.Context(), name, client.ContainerRemoveOptions{Force: true})
		return err
	})
	if _, err := m.cli.NetworkRemove(m.Context(), alone, client.NetworkRemoveOptions{}); err != nil {
		m.Fatal(err)
	}
}

const alone = "alone" // a network, and what its containers' names begin with

func (m *machine) each(nodes, atOnce int, f func(name string) error) {
	m.Helper()
	slots, errs := make(chan struct{}, atOnce), make([]error, nodes)
	var all sync.WaitGroup
	for i := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(fmt.Sprintf("%s-%d", alone, i))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		m.Fatal(err)
	}
}
