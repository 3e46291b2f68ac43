package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi"
	"archetype/backends/provider/dockerapi/enginetest"
)

// boxes is how many containers are measured, with twice as many links.
const boxes = 50

// docker compares the deploy of a lab of containers with the engine's own
// command line that runs the same containers, as many at once as the program
// makes at once, on a Docker engine of the bench's own.
func (b *bench) docker() error {
	if why := dockertest.Kind.Missing(); why != "" {
		return fmt.Errorf("it %s", why)
	}
	e, err := enginetest.Launch(dockertest.Kind)
	if err != nil {
		return err
	}
	b.cleanup = append(b.cleanup, e.Close)
	file := filepath.Join(b.dir, "boxes.clab.yml")
	if err := os.WriteFile(file, []byte(boxLab()), 0o600); err != nil {
		return err
	}
	home := filepath.Join(b.dir, "docker")
	ours := func(args ...string) (time.Duration, error) {
		cmd := b.command(args...)
		cmd.Env = append(cmd.Env, "ARCHETYPE_HOME="+home, "DOCKER_HOST="+e.Host)
		return timed(cmd)
	}
	b.cleanup = append(b.cleanup, func() { _, _ = ours("destroy", "boxes", "--yes") })
	best, least := map[string]time.Duration{}, time.Duration(0)
	for range rounds {
		took, err := b.dockerRuns(e)
		if err != nil {
			return err
		}
		if least == 0 || took < least {
			least = took
		}
		for _, network := range []string{"veth", "linuxbridge"} {
			took, err := ours("deploy", file, "--provider", "docker", "--network", network)
			if err != nil {
				return err
			}
			if best[network] == 0 || took < best[network] {
				best[network] = took
			}
			if _, err := ours("destroy", "boxes", "--yes"); err != nil {
				return err
			}
		}
	}
	for _, network := range []string{"veth", "linuxbridge"} {
		b.row(fmt.Sprintf("deploy %d containers and %d links, %s", boxes, 2*boxes, network), ms(best[network]),
			ms(least)+" docker run", ratio(best[network], least), goal("at most 1.05", float64(best[network]) <= 1.05*float64(least)))
	}
	return nil
}

// boxLab is a ring of containers, each linked to its next two.
func boxLab() string {
	var s strings.Builder
	fmt.Fprintf(&s, "name: boxes\ntopology:\n  defaults: {kind: linux, image: %q, cmd: sleep 1000, network-mode: none}\n  nodes:\n", enginetest.Image)
	for i := range boxes {
		fmt.Fprintf(&s, "    n%d: {}\n", i)
	}
	s.WriteString("  links:\n")
	for i := range boxes {
		for by := 1; by <= 2; by++ {
			fmt.Fprintf(&s, "    - endpoints: [\"n%d:eth%d\", \"n%d:eth%d\"]\n", i, by, (i+by)%boxes, by+2)
		}
	}
	return s.String()
}

// dockerRuns runs the same containers by the command line, and tells how long
// all of them took.
func (b *bench) dockerRuns(e *enginetest.Engine) (time.Duration, error) {
	cli := func(args ...string) error {
		_, err := timed(exec.CommandContext(b.ctx, "docker", append([]string{"-H", e.Host}, args...)...))
		return err
	}
	slots := make(chan struct{}, dockerapi.StartsAtOnce()) // as many as the program starts
	errs := make([]error, boxes)
	var all sync.WaitGroup
	began := time.Now()
	var names []string
	for i := range boxes {
		name := fmt.Sprintf("yardstick-%d", i)
		names = append(names, name)
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = cli("run", "-d", "-t", "-i", "--network", "none", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN",
				"--hostname", name, "--name", name, enginetest.Image, "sleep", "1000")
		})
	}
	all.Wait()
	took := time.Since(began)
	if err := cli(append([]string{"rm", "-f"}, names...)...); err != nil {
		return 0, err
	}
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}
