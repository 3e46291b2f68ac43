package engine_test

import (
	"strings"
	"testing"
)

// A file's image that the provider cannot use is said, once for all nodes.
func TestAnImageThatIsNotUsedIsSaid(t *testing.T) {
	b := newBench(t)
	d := b.deploy("name: l\ntopology:\n  nodes:\n    a: {kind: linux, image: 'alpine:3'}\n    b: {kind: linux, image: 'alpine:3'}\n    c: {kind: linux}\n    d: {kind: bridge, image: 'alpine:3'}\n")
	if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0].String(), "image of node a (one of 2) is not used: provider netns has none") {
		t.Errorf("%v", d.Warnings)
	}
	b.completed(d.Job)
}
