package ui

import (
	"slices"
	"strconv"
	"testing"

	"archetype/internal/packets"
)

// What a filter shows is all that it is to show, whatever came, was dropped to
// make room, or was filtered otherwise before; who has chosen a packet keeps it.
func TestCaptureFilter(t *testing.T) {
	v := &captureView{filter: "arp"}
	m := &Model{}
	n := 0
	come := func(protocols ...string) {
		for _, p := range protocols {
			n++
			v.take(&packets.Packet{Protocol: p, Info: strconv.Itoa(n), Length: keepBytes / 5})
		}
		m.captureEvent(captureMsg{v})
	}
	shows := func(want ...string) {
		t.Helper()
		var got []string
		for _, p := range v.shown() {
			got = append(got, p.Info)
		}
		if !slices.Equal(got, want) {
			t.Errorf("with filter %q it shows %v, not %v", v.filter, got, want)
		}
	}
	come("ARP", "TCP", "ARP", "TCP", "ARP")
	shows("1", "3", "5")
	v.list.at = 2
	come("ARP", "TCP") // 1 and 2 go
	shows("3", "5", "6")
	if p := v.shown()[v.list.at]; p.Info != "5" {
		t.Errorf("%s is chosen, and 5 was", p.Info)
	}
	v.filter = ""
	shows("3", "4", "5", "6", "7")
	come("ARP") // 3 goes
	v.filter = "arp"
	shows("5", "6", "8")
	v.filter = "!arp"
	shows("4", "7")
}
