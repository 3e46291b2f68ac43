package docker_test

import (
	"os"
	"testing"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int {
		dockertest.Alone()
		return dockertest.Main(m)
	}))
}

func TestContainers(t *testing.T) { enginetest.Run(t, &dockertest.Shared) }
