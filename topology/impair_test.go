package topology

import (
	"strings"
	"testing"
	"time"

	"archetype/lab"
)

func TestImpairments(t *testing.T) {
	file := two + `    - endpoints: ["a:eth1", "b:eth1"]
      impair: {delay: 20ms, jitter: 5ms, loss: 1.5%, rate: 10mbit}
    - endpoints: [{node: a, interface: eth2, impair: {corruption: 0.1}}, {node: b, interface: eth2}]
`
	top, _, err := Parse("t.yml", []byte(file), Options{Kinds: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	want := lab.Impairment{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 1.5, Rate: 10_000_000}
	if l := top.Links[0]; l.A.Impair != want || l.B.Impair != want {
		t.Errorf("both ways: %+v, %+v", l.A.Impair, l.B.Impair)
	}
	if l := top.Links[1]; l.A.Impair != (lab.Impairment{Corruption: 0.1}) || !l.B.Impair.IsZero() {
		t.Errorf("one way: %+v, %+v", l.A.Impair, l.B.Impair)
	}
	for bad, says := range map[string]string{
		"{delay: soon}":            `"soon" is not a time`,
		"{loss: 120}":              `"120" is not a percentage`,
		"{rate: fast}":             `"fast" is not a rate`,
		"{jitter: 1ms}":            "it needs a delay to vary",
		"{delay: 1ms, jitter: 2s}": "it cannot be more than the delay",
		"{rate: 1bit}":             "it must be between",
		"{lag: 1ms}":               `"lag"`,
		"[1ms]":                    "must be a map",
	} {
		_, _, err := Parse("t.yml", []byte(two+"    - {endpoints: [a:eth1, b:eth1], impair: "+bad+"}\n"), Options{Kinds: kinds(t)})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "t.yml:7:") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
