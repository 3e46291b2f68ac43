package enginetest

import (
	"slices"

	"github.com/moby/moby/client"

	"archetype/backends"
)

func kindsAreToldOfTheirInterfaces(b *bench) {
	change := func(c *backends.NodeConfig) { cmd("exec sleep 1000")(c) }
	xrd := b.create(b.kindConfig("cisco_xrd", "x", change, "Gi0-0-0-0", "Gi0-0-0-1"))
	ceos := b.create(b.kindConfig("ceos", "c", change, "eth1", "eth2"))
	for ref, want := range map[backends.NodeRef]string{
		xrd:  "XR_INTERFACES=linux:Gi0-0-0-0,xr_name=Gi0/0/0/0;linux:Gi0-0-0-1,xr_name=Gi0/0/0/1",
		ceos: "CLAB_INTFS=2",
	} {
		res, err := b.cli.ContainerInspect(b.Context(), named(ref), client.ContainerInspectOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if !slices.Contains(res.Container.Config.Env, want) {
			b.Errorf("%s lacks %s in %q", ref, want, res.Container.Config.Env)
		}
	}
}
