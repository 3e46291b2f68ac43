package podman_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/podman"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int { return podmantest.Main(m) }))
}

func TestContainers(t *testing.T) { enginetest.Run(t, &podmantest.Shared) }

func TestExternalAccess(t *testing.T) {
	enginetest.ExternalAccess(t, &podmantest.Shared, "FORWARD")
}

// A user's own Podman is told apart from the system's: it is not root's to
// use, and root is told whose it is and what to do; and the user's namespace,
// where its containers are wired, is found.
func TestRootlessPodmanIsToldApart(t *testing.T) {
	e := rootless(t)
	p := podman.New(podman.Config{Host: e.Host, Run: t.TempDir(), Labs: t.TempDir()})
	defer func() { _ = p.Close() }()
	a := p.Available(t.Context())
	if a.OK || !strings.Contains(a.Reason, "a user's own (rootless)") || !strings.Contains(a.Fix, "as that user") ||
		!strings.Contains(a.Fix, "unix:///run/podman/podman.sock") {
		t.Errorf("%+v", a)
	}
	ns, err := podman.UserNamespace(t.Context(), podman.Config{Host: e.Host})
	if err != nil {
		t.Error(err)
	}
	found, err := os.Readlink(ns)
	own, _ := os.Readlink("/proc/self/ns/user")
	if err != nil || found == own {
		t.Errorf("the user's namespace is %q, %q, %v; ours is %s", ns, found, err, own)
	}
	if ns, err := podman.UserNamespace(t.Context(), podman.Config{Host: "unix:///nowhere"}); ns != "" || err != nil {
		t.Errorf("nobody's is %q, %v", ns, err)
	}
}

// Where nodes are known, a Podman that does not answer in time is an error: a
// holder in another namespace than theirs would keep them out of reach.
func TestAPodmanThatDoesNotAnswerHasNoOtherNamespace(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	stub := "#!/bin/sh\necho >" + started + "\nexec sleep 1000\n"
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(started) // returns once it runs
		cancel()
	}()
	ns, err := podman.UserNamespace(ctx, podman.Config{Host: "unix:///nowhere", Run: dir})
	if ns != "" || !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "podman unshare") {
		t.Errorf("%q, %v", ns, err)
	}
}

func rootless(t *testing.T) *enginetest.Engine {
	t.Helper()
	if why := podmantest.Rootless.Missing(); why != "" {
		t.Skip(why)
	}
	e, err := enginetest.Launch(podmantest.Rootless)
	if err != nil {
		t.Skip("an ordinary user's Podman does not run here: ", err)
	}
	t.Cleanup(e.Close)
	return e
}
