package enginetest

import (
	"time"

	"archetype/backends"
	"archetype/lab"
)

// health: what a check in the node finds is told at once, over restarts too.
func health(b *bench) {
	ref := b.run(b.config("a", func(c *backends.NodeConfig) {
		cmd("exec sleep 1000")(c)
		c.Node.Container.Healthcheck = &lab.Healthcheck{Test: []string{"CMD-SHELL", "[ -e /well ]"}, Interval: time.Second, Retries: 1}
	}))
	is := func(h backends.Health) func(backends.NodeStatus) bool {
		return func(st backends.NodeStatus) bool { return st.Running && st.Health == h }
	}
	b.event("its check fails", ref, is(backends.HealthUnhealthy))
	b.must(ref, "touch /well")
	b.event("its check succeeds", ref, is(backends.HealthHealthy))
	if st, _ := b.status(ref); st.Health != backends.HealthHealthy {
		b.Errorf("it is %q in the list", st.Health)
	}
	b.must(ref, "rm /well")
	b.event("its check fails again", ref, is(backends.HealthUnhealthy))
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		b.Fatal(err)
	}
	if st, _ := b.status(ref); st.Health != "" {
		b.Errorf("stopped it is %q", st.Health)
	}
	b.start(ref)
	b.must(ref, "touch /well")
	b.event("its check succeeds after a restart", ref, is(backends.HealthHealthy))
	if err := b.Close(); err != nil { // as an engine that ends
		b.Fatal(err)
	}
	b.Provider = b.d.Again(b, b.Provider)
	b.listen()
	if st, ok := b.status(ref); !ok || st.Health != backends.HealthHealthy {
		b.Errorf("the next provider finds %+v", st)
	}
	b.must(ref, "rm /well")
	b.event("its check fails under the next provider", ref, is(backends.HealthUnhealthy))
}
