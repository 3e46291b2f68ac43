package enginetest

import (
	"errors"
	"strings"

	"archetype/backends"
)

func missingImage(b *bench) {
	for policy, want := range map[string]string{"": "cannot be pulled", "Never": "image-pull-policy is Never"} {
		c := b.config("a", func(c *backends.NodeConfig) {
			c.Node.Image, c.Node.Container.PullPolicy = "127.0.0.1:1/none:1", policy
		})
		err := b.Create(b.Context(), c)
		if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "127.0.0.1:1/none:1") {
			b.Errorf("policy %q: %v", policy, err)
		}
	}
}
