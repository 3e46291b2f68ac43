package ui

import (
	"slices"
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/lab"
)

// TestWhyANodeIsTriedAgain: while it starts once more, what went wrong is still told.
func TestWhyANodeIsTriedAgain(t *testing.T) {
	s := ring(2)
	n := s.Labs[0].Nodes[0]
	n.Actual, n.Retries = lab.NodeStarting, 2
	for _, text := range []string{"the first time", "not ready in time", "of another"} {
		s.Events = append(s.Events, &api.Event{Lab: "ring", Node: n.Name, Level: api.LevelError, Text: text})
	}
	s.Events[2].Node = "n2"
	s.Events = append(s.Events, &api.Event{Lab: "ring", Node: n.Name, Level: api.LevelInfo, Text: "pending"})
	text := shown(t, s).tried(s.Labs[0], n)
	if !slices.ContainsFunc(text, func(l string) bool {
		return strings.HasPrefix(l, "because ") && strings.HasSuffix(l, " not ready in time")
	}) {
		t.Errorf("it says %q", text)
	}
}
