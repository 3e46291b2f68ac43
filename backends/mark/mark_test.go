package mark

import "testing"

// What is written is read again, also what versions wrote that did not name
// whose it is; what others write is no mark.
func TestMarks(t *testing.T) {
	for _, m := range []Mark{{}, {"", "", "l", "n:eth1"}, {"far", "", "l", "n:eth1"}, {"joint-linuxbridge", "", "l", "a:e -- b:e"},
		Of("0a1b2c3d", "l", "host:x@y"), {"port", "0a1b2c3d", "l-2", "n:eth1"}} {
		if got, ok := Parse(m.String()); !ok || got != m {
			t.Errorf("%q is read as %+v, %v", m, got, ok)
		}
	}
	old, ok := Parse("archetype-far:l:n:eth1")
	if !ok || old != (Mark{Use: "far", Lab: "l", ID: "n:eth1"}) || !old.Admits("me") {
		t.Errorf("an old one: %+v, %v", old, ok)
	}
	if m, _ := Parse("archetype@me:l:x"); !m.Admits("me") || m.Admits("you") {
		t.Errorf("%+v", m)
	}
	for _, alias := range []string{"", "uplink", "archetypes:l:x", "archetype:l", "archetype", "my archetype:l:x"} {
		if m, ok := Parse(alias); ok {
			t.Errorf("%q is read as %+v", alias, m)
		}
	}
}
