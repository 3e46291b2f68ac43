package podman_test

import (
	"os"
	"strings"
	"testing"

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
	ns := podman.UserNamespace(t.Context(), podman.Config{Host: e.Host})
	found, err := os.Readlink(ns)
	own, _ := os.Readlink("/proc/self/ns/user")
	if err != nil || found == own {
		t.Errorf("the user's namespace is %q, %q, %v; ours is %s", ns, found, err, own)
	}
	if ns := podman.UserNamespace(t.Context(), podman.Config{Host: "unix:///nowhere"}); ns != "" {
		t.Errorf("nobody's is %q", ns)
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
