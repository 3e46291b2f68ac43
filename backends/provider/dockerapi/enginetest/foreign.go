package enginetest

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// modest are limits that every engine may set on every machine.
var modest = []*container.Ulimit{{Name: "nofile", Soft: 256, Hard: 256}, {Name: "nproc", Soft: 256, Hard: 256}}

// containersOfOthersAreWired: a container that somebody else runs is a node by
// its name. Its interfaces follow it over a restart and a new container of the
// name; it is never stopped, removed or made.
func containersOfOthersAreWired(b *bench) {
	name := "others-" + b.lab
	x := b.kindConfig("ext-container", name, nil, "eth1")
	if err := b.Create(b.Context(), x); !errors.Is(err, backends.ErrNotFound) {
		b.Errorf("without the container: %v", err)
	}
	launch := func() {
		b.Helper()
		res, err := b.cli.ContainerCreate(b.Context(), client.ContainerCreateOptions{Name: name,
			Config:     &container.Config{Image: Image, Cmd: []string{"sleep", "1000"}},
			HostConfig: &container.HostConfig{NetworkMode: "none", CapAdd: []string{"NET_ADMIN"}, Resources: container.Resources{Ulimits: modest}}})
		if err == nil {
			_, err = b.cli.ContainerStart(b.Context(), res.ID, client.ContainerStartOptions{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	away := func() {
		_, err := b.cli.ContainerRemove(b.Context(), name, client.ContainerRemoveOptions{Force: true})
		if err != nil {
			b.Error(err)
		}
	}
	launch()
	b.Cleanup(func() {
		_, _ = b.cli.ContainerRemove(context.Background(), name, client.ContainerRemoveOptions{Force: true})
	})
	y := addressed(b.config("peer", cmd("exec sleep 1000"), "eth1"), "10.5.0.2/24")
	x = addressed(x, "10.5.0.1/24")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	b.start(x.Ref)
	b.start(y.Ref)
	runs := func(st backends.NodeStatus) bool { return st.Running }
	first := b.event("a start", x.Ref, runs)
	b.must(y.Ref, "ping -c 1 -w 20 10.5.0.1")

	none := 0
	if _, err := b.cli.ContainerRestart(b.Context(), name, client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	b.event("a restart", x.Ref, func(st backends.NodeStatus) bool { return st.Running && st.Boot > first.Boot })
	b.must(y.Ref, "ping -c 1 -w 20 10.5.0.1")
	away()
	b.event("its end", x.Ref, func(st backends.NodeStatus) bool { return st.Gone })
	launch()
	b.event("another of the name", x.Ref, runs)
	b.must(y.Ref, "ping -c 1 -w 20 10.5.0.1")

	if err := b.Stop(b.Context(), x.Ref, 0); err != nil {
		b.Error(err)
	}
	b.start(x.Ref) // as if it had been stopped
	if err := b.Close(); err != nil {
		b.Fatal(err)
	}
	again := b.d.Again(b.T, b.Provider)
	list, err := again.List(b.Context(), b.lab)
	if err != nil || len(list) != 2 || list[0].Ref != x.Ref || !list[0].Running || list[0].Labels["archetype.node"] != name {
		b.Errorf("another engine finds %+v, %v", list, err)
	}
	if r, err := again.Exec(b.Context(), x.Ref, backends.ExecRequest{Command: []string{"ip", "link", "show", "eth1"}}); err != nil || r.Code != 0 {
		b.Errorf("its interface there: %+v, %v", r, err)
	}
	if err := again.Remove(b.Context(), x.Ref); err != nil {
		b.Error(err)
	}
	res, err := b.cli.ContainerInspect(b.Context(), name, client.ContainerInspectOptions{})
	if err != nil || !res.Container.State.Running {
		b.Errorf("it is not left alone: %v", err)
	}
	if list, err = again.List(b.Context(), b.lab); err != nil || len(list) != 1 {
		b.Errorf("after its removal the lab has %+v, %v", list, err)
	}
	away()
	if err := again.Create(b.Context(), x); err == nil || !strings.Contains(err.Error(), "there is no container "+name) {
		b.Errorf("of one that is not there: %v", err)
	}
}
