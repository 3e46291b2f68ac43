package vendors

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// device has a conversation over time that the test makes.
type device struct {
	*testing.T
	talk *Talk
	now  time.Time
}

func newDevice(t *testing.T, facts Facts, steps ...Step) *device {
	now := time.Unix(1000, 0)
	return &device{t, NewTalk(&Kind{Dialogue: steps}, facts, now), now}
}

func (d *device) says(text string) *device {
	d.talk.Hear([]byte(text), d.now)
	return d
}

func (d *device) after(pause time.Duration) *device {
	d.now = d.now.Add(pause)
	return d
}

// hears checks what is answered now; "" is nothing.
func (d *device) hears(want string) *device {
	d.Helper()
	a, _ := d.talk.Next(d.now)
	got := ""
	if a != nil {
		got = string(a.Send)
		d.talk.Sent(a, d.now)
	}
	if got != want {
		d.Fatalf("answered %q, want %q", got, want)
	}
	return d
}

const tick = settle

var login = []Step{{Expect: `[Ll]ogin:`, Send: "{username}"}, {Expect: "Password:", Send: "{password}"}}

func TestPrompts(t *testing.T) {
	facts := Facts{Hostname: "r1", Username: "admin", Password: "secret99", Config: "one\n\n two\nthree\n"}
	t.Run("in pieces, without an end of line", func(t *testing.T) {
		newDevice(t, facts, login...).says("junk\r\nlog").after(tick / 2).says("in: ").hears("").after(tick).hears("admin\r").after(tick).hears("").
			says("admin\r\nPass").after(tick).hears("").says("word: ").after(tick).hears("secret99\r")
	})
	t.Run("what only looks like one is none", func(t *testing.T) {
		newDevice(t, facts, login...).says("Last login:").after(tick / 2).says(" Mon Jan 1\r\n").after(time.Hour).hears("")
	})
	t.Run("again after a reboot, and repeated", func(t *testing.T) {
		d := newDevice(t, facts, login...)
		for range 3 {
			d.says("\x1b[2J\x00\xff\r\nrouter login: ").after(tick).hears("admin\r").says("admin\r\n").after(tick).hears("")
		}
	})
	t.Run("as often as its data says", func(t *testing.T) {
		d := newDevice(t, facts, Step{Expect: "again", Send: "a", Times: 2})
		d.says("again? no, again").after(tick).hears("a\r").says("\nagain").after(tick).hears("a\r").says("\nagain").after(tick).hears("")
		if expect, times := d.talk.Spent(); expect != "again" || times != 2 {
			t.Errorf("spent: %q %d", expect, times)
		}
	})
	t.Run("the same prompt, one step after the other", func(t *testing.T) {
		d := newDevice(t, facts, Step{Expect: "#", Send: "first", Times: 1}, Step{Expect: "#", Send: "second", Times: 1})
		d.says("r1#").after(tick).hears("first\r").says("first\r\nr1#").after(tick).hears("second\r").says("second\r\nr1#").after(tick).hears("")
	})
	t.Run("line by line", func(t *testing.T) {
		d := newDevice(t, facts, Step{Expect: "#", Lines: "conf t\n{config}\nend"})
		for _, want := range []string{"conf t\r", "one\r", " two\r", "three\r", "end\r", ""} {
			d.says("#").after(tick).hears(want).says("\r\n")
		}
	})
	t.Run("silence", func(t *testing.T) {
		d := newDevice(t, facts, Step{Quiet: Duration(10 * time.Second), Send: "", Times: 2})
		d.after(9 * time.Second).hears("").says(".").after(9 * time.Second).hears("").after(2 * time.Second).hears("\r").
			after(2 * time.Second).hears("").after(9 * time.Second).hears("\r").after(time.Hour).hears("")
	})
	t.Run("a whole line", func(t *testing.T) {
		newDevice(t, facts, Step{Expect: "RETURN to get started!?", Line: true, Send: ""}).says("Press RETURN to get started!\r\n\r\n").
			after(tick).hears("\r").after(time.Hour).hears("")
	})
	t.Run("a key", func(t *testing.T) {
		newDevice(t, facts, Step{Expect: "any key", Raw: true, Send: " "}).says("press any key").after(tick).hears(" ")
	})
}

func TestSecretsAreHidden(t *testing.T) {
	f := Facts{Username: "admin", Password: "secret99", Config: "snmp community hidden\nend\n"}
	if got := f.Hide("login secret99; snmp community hidden; end"); strings.Contains(got, "secret99") || strings.Contains(got, "hidden") || !strings.Contains(got, "end") {
		t.Error(got)
	}
	if got := (Facts{Username: "admin", Password: "admin"}).Hide("admin logs in"); got != "admin logs in" {
		t.Error(got)
	}
	// What is shown of a prompt is what the device said, never the answer.
	d := newDevice(t, f, login...)
	a, _ := d.says("Password: ").after(tick).talk.Next(d.now)
	if a == nil || strings.Contains(a.Text, "secret99") {
		t.Errorf("%+v", a)
	}
}

// Whatever a device says and in whatever pieces: what is kept is bounded, and
// no step is done more often than it may be.
func TestTalkIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		times := rapid.IntRange(1, 3).Draw(rt, "times")
		d := newDevice(t, Facts{}, Step{Expect: "[a-z]", Send: "x", Times: times}, Step{Quiet: Duration(time.Second), Times: times})
		sent := 0
		for range rapid.IntRange(1, 30).Draw(rt, "n") {
			d.talk.Hear(rapid.SliceOfN(rapid.Byte(), 0, 3*maxLine).Draw(rt, "bytes"), d.now)
			d.now = d.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ms")) * time.Millisecond)
			if a, _ := d.talk.Next(d.now); a != nil {
				d.talk.Sent(a, d.now)
				sent++
			}
		}
		if sent > 2*times || len(d.talk.line) > maxLine {
			rt.Fatalf("%d sent, %d kept", sent, len(d.talk.line))
		}
	})
}

func TestTheInterfacesOfASeed(t *testing.T) {
	f := Facts{Hostname: "r1"}
	const text = "of {hostname}\n{management}: {dhcp: true, mac: '{mac}'}\n  {interface}: '{interface} {mac}'\nend"
	others := []SeedInterface{{Name: "eth1", MAC: "02::1"}, {Name: "eth2", MAC: "02::2"}}
	const rest = "  eth1: 'eth1 02::1'\n  eth2: 'eth2 02::2'\nend"
	if got := f.Seed(text, &SeedInterface{Name: "mgmt", MAC: "02::0"}, others); got != "of r1\nmgmt: {dhcp: true, mac: '02::0'}\n"+rest {
		t.Errorf("got\n%s", got)
	}
	if got := f.Seed(text, nil, others); got != "of r1\n"+rest {
		t.Errorf("without management:\n%s", got)
	}
}
