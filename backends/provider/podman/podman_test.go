package podman_test

import (
	"os"
	"testing"

	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int { return podmantest.Main(m) }))
}

func TestContainers(t *testing.T) { enginetest.Run(t, &podmantest.Shared) }
