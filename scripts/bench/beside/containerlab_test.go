package beside

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/docker/dockertest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int {
		dockertest.Alone()
		return dockertest.Main(m)
	}))
}

// rounds is how often each is measured, by turns; the best counts, for both
// alike: what disturbs a measurement only ever adds to it.
const rounds = 3

// BenchmarkContainerlab deploys and destroys the same file with both programs,
// on the same engine: the same image, a management network, links by veth.
// CONTAINERLAB names its program, ARCHETYPE ours. Run it with -benchtime=1x.
func BenchmarkContainerlab(b *testing.B) {
	theirs, ours := os.Getenv("CONTAINERLAB"), os.Getenv("ARCHETYPE")
	if theirs == "" || ours == "" {
		b.Skip("CONTAINERLAB and ARCHETYPE name no programs")
	}
	for _, size := range []struct{ nodes, links int }{{20, 20}, {50, 100}} {
		b.Run(fmt.Sprintf("nodes=%d/links=%d", size.nodes, size.links), func(b *testing.B) {
			m := newMachine(b)
			file := m.lab(size.nodes, size.links)
			var best [2]struct{ deploy, destroy time.Duration }
			for range rounds {
				for i, verbs := range [2][2][]string{
					{{ours, "deploy", file, "--provider", "docker", "--network", "veth"}, {ours, "destroy", "beside", "--yes"}},
					{{theirs, "deploy", "-t", file}, {theirs, "destroy", "-t", file, "--cleanup"}}} {
					best[i].deploy = least(best[i].deploy, m.timed(verbs[0]...))
					if n := strings.Count(m.run("docker", "ps", "-q"), "\n"); n != size.nodes {
						b.Fatalf("%s: %d of %d containers run", verbs[0][0], n, size.nodes)
					}
					best[i].destroy = least(best[i].destroy, m.timed(verbs[1]...))
					if left := m.run("docker", "ps", "-aq"); left != "" {
						b.Fatalf("%s left %s", verbs[1][0], left)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(millis(best[0].deploy), "ours-deploy-ms")
			b.ReportMetric(millis(best[1].deploy), "theirs-deploy-ms")
			b.ReportMetric(millis(best[0].destroy), "ours-destroy-ms")
			b.ReportMetric(millis(best[1].destroy), "theirs-destroy-ms")
		})
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func least(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// machine is one with a Docker engine, on which both leave nothing behind.
type machine struct {
	*testing.B
	dir string
	env []string
}

func newMachine(b *testing.B) *machine {
	engine := dockertest.Shared.Get(b)
	m := &machine{B: b, dir: b.TempDir()}
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

func (m *machine) timed(args ...string) time.Duration {
	m.Helper()
	began := time.Now()
	m.run(args...)
	return time.Since(began)
}
