package docker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/lab"
	"archetype/vendors"
)

// A container that Docker starts again and again is called running by Docker all
// the time: it is told as what it is, and gives way to what it is made from now.
func TestStartedAgainAndAgain(t *testing.T) {
	for _, s := range []*enginetest.Shared{&dockertest.Shared, &newest} {
		t.Run(s.Kind.Name, func(t *testing.T) { startedAgainAndAgain(t, s) })
	}
}

func startedAgainAndAgain(t *testing.T, s *enginetest.Shared) {
	p := s.Get(t).Provider(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	events, err := p.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ref := backends.NodeRef{Lab: "again", Node: "a"}
	c := backends.NodeConfig{Ref: ref, Kind: kind, Labels: map[string]string{}, Node: lab.Node{Name: "a", Kind: "linux", Image: enginetest.Image,
		Cmd: "sh -c 'exit 3'", Container: lab.Container{NetworkMode: "none", RestartPolicy: "always"}}}
	if err := p.Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx, ref); err != nil {
		t.Fatal(err)
	}
	// Docker waits twice as long each time: from its eighth start on more than ten seconds.
	var last backends.NodeStatus
	for last.Boot < 7 || last.Running || !strings.Contains(last.ExitReason, "code 3, and is started again by its restart-policy") {
		select {
		case st, ok := <-events:
			if !ok {
				t.Fatal("no more events")
			}
			if st.Running && st.PID == 0 {
				t.Fatalf("said to run: %+v", st)
			}
			last = st
		case <-ctx.Done():
			t.Fatalf("never said to be started again: %+v", last)
		}
	}
	list, err := p.List(ctx, ref.Lab)
	if err != nil || len(list) != 1 || list[0].Running {
		t.Errorf("a look finds %+v, %v", list, err)
	}
	// What it is made from now takes its place, and runs.
	c.Node.Cmd = "sleep 1000"
	if err := p.Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if list, err = p.List(ctx, ref.Lab); err != nil || len(list) != 1 || !list[0].Running {
		t.Errorf("made anew: %+v, %v", list, err)
	}
}
