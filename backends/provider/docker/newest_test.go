package docker_test

import (
	"os"
	"testing"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
)

var newest = enginetest.Shared{Kind: dockertest.Newest}

// Today's Docker, which Debian's release does not have yet. What the engine
// itself has a part in is tried on it; all of it with CONFORMANCE=all.
func TestNewest(t *testing.T) {
	only := []string{"interfaces-before-init", "killed-and-started-behind-our-back", "restarted-behind-our-back", "exec", "console-by-attach",
		"every-field", "management-network", "nothing-is-left"}
	if os.Getenv("CONFORMANCE") == "all" {
		only = nil
	}
	t.Run("containers", func(t *testing.T) { enginetest.Run(t, &newest, only...) })
	t.Run("external-access", func(t *testing.T) { enginetest.ExternalAccess(t, &newest, chain) })
}
