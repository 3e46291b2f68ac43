package engine_test

import (
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/lab"
)

const star = `
name: pair
topology:
  nodes:
    r1: {kind: linux}
    r2: {kind: linux}
    r3: {kind: linux}
  links:
    - endpoints: ["r1:eth1", "r2:eth1"]
`

var replugged = strings.Replace(star, `"r2:eth1"`, `"r3:eth1"`, 1)

func replug(b *bench) {
	b.Helper()
	b.until("the cable in its new place", func(s *api.Snapshot) bool {
		return len(s.Labs) == 1 && len(s.Labs[0].Links) == 1 && s.Labs[0].Links[0].B == "r3:eth1" && s.Labs[0].Links[0].Actual == lab.LinkUp
	})
	// What takes the interface away must not come after what makes it.
	last := ""
	for _, call := range b.w.calls {
		if strings.HasPrefix(call, "delete") || strings.HasPrefix(call, "connect") {
			last = call
		}
	}
	if last != "connect r1:eth1|r3:eth1" {
		b.Errorf("calls: %v", b.w.calls)
	}
	if got := strings.Join(b.w.what(), "\n"); strings.Count(got, "link ") != 1 || !strings.Contains(got, "r1:eth1|r3:eth1 connected=true") {
		b.Errorf("there is\n%s", got)
	}
}

func TestInterfaceMovesToAnotherPeer(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(star).Job)
	b.completed(b.deploy(replugged).Job)
	replug(b)
	b.completed(b.deploy(star).Job) // and back
}

// The engine ends after it has noted the wish and before it has removed the
// old cable.
func TestInterfaceMovesOverACrash(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(star).Job)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["delete "+pairLink] = hold })
	b.deploy(replugged)
	b.until("the held call", func(*api.Snapshot) bool { return b.w.count("delete "+pairLink) > 0 })
	b.stop()
	b.w.set(func() { delete(b.w.hold, "delete "+pairLink) })
	b.start()
	replug(b)
}
