package replay_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/replay"
	"archetype/lab"
	"archetype/vendors"
)

var (
	dialogue = flag.String("dialogue", "", "a boot dialogue to replay, a file")
	kindName = flag.String("kind", "", "the kind of device that the dialogue is of")
	folder   = flag.String("vendors", "", "a folder with vendor files, beside the built-in ones")
)

// toy is a kind of which nobody knows but its file.
const toy = `name: toy
providers: [libvirt]
vm:
  management: true
  credentials: {username: admin, password: 'S3cret!x'}
  dialogue:
    - {expect: 'started!?', line: true, times: 1}
    - {expect: '[Ll]ogin:', send: '{username}', percent: 50, message: logs in}
    - {expect: '(?i)new password( again)?:', send: '{password}'}
    - {expect: '[Pp]assword:', send: '{password}'}
    - {expect: 'any key.*', send: ' ', raw: true}
    - {expect: '\(yes/no\)\?', send: 'no', times: 2}
    - {expect: '\w+#', lines: "hostname {hostname}\n{config}\n", percent: 90, message: configured}
    - {expect: '\w+#', send: 'end', times: 1, ready: true}
  exec: {method: serial, prompt: '\w+#', login: [{expect: 'login:', send: '{username}'}, {expect: 'assword:', send: '{password}'}], failed: '^% '}
  readiness: READINESS
  progress:
    - {regexp: 'unpacking \S+', percent: 10}
    - {text: kernel, percent: 30, message: kernel up}
`

func kinds(t testing.TB, text string) *vendors.Registry {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, "own.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, diags, err := vendors.Load(dir)
	if err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	return r
}

func script(t testing.TB, text string) *replay.Dialogue {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.talk")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := replay.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func run(t testing.TB, readiness, config, talk string) *replay.Lab {
	t.Helper()
	top := "name: r\ntopology: {nodes: {dut: {kind: toy}}}\n"
	if config != "" {
		file := filepath.Join(t.TempDir(), "cfg")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		top = fmt.Sprintf("name: r\ntopology: {nodes: {dut: {kind: toy, startup-config: %s}}}\n", file)
	}
	return replay.NewLab(t, kinds(t, strings.Replace(toy, "READINESS", readiness, 1)), top, map[string]*replay.Dialogue{"dut": script(t, talk)})
}

var dut = backends.NodeRef{Lab: "r", Node: "dut"}

// played waits until the whole dialogue has gone as it should.
func played(b *replay.Lab, ref backends.NodeRef) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Provider.Result(ctx, ref); err != nil {
		b.Fatal(err)
	}
}

// TestDialogue: all sorts of questions, in pieces and in noise, again after a
// reboot; what it is shown never goes back and holds no secret.
func TestDialogue(t *testing.T) {
	t.Parallel()
	b := run(t, "{probe: dialogue, timeout: 2m}", "snmp community V3rySecret\n\nip routing\n", `
garbage 60
slow unpacking image.bin ... done
prompt "press any key to continue"
key " "
say kernel 5.4 S3cret!x
say Last login: never
prompt "Would you like to enter the initial dialog (yes/no)? "
answer no
prompt "login: "
pause 300ms
garbage 30
prompt "\r\ndut login: "
answer admin
prompt "Password: "
secret S3cret!x
prompt "New password: "
secret S3cret!x
prompt "New password again: "
secret S3cret!x
say the password was changed
say rebooting
reboot
garbage 200
say unpacking image.bin
pause 250ms
prompt "login:"
answer admin
prompt "Password:"
secret S3cret!x
say Press RETURN to get started!
say
answer ""
prompt "dut#"
answer hostname dut
prompt "dut#"
answer snmp community V3rySecret
prompt "dut#"
answer ip routing
prompt "dut#"
answer end
prompt "dut#"
silent
`)
	n := b.Ready("dut")
	if n.ProgressText != "configured" || n.ProgressLine == "" {
		t.Errorf("%+v", n)
	}
	p := b.Percents("dut")
	if !slices.IsSorted(p) || len(slices.Compact(slices.Clone(p))) < 2 {
		t.Errorf("per cent %v", p)
	}
	if shown := fmt.Sprintf("%+v %v", n, b.Events()); strings.Contains(shown, "S3cret") || strings.Contains(shown, "V3ry") {
		t.Error("a secret is shown: ", shown)
	}
	if err := b.Provider.Wrong(dut); err != nil { // nobody types once it is ready
		t.Error(err)
	}
}

// TestPersonHasTheLine: from the first key that a person types nothing is
// answered, until the console is closed.
func TestPersonHasTheLine(t *testing.T) {
	t.Parallel()
	b := run(t, "{probe: dialogue, timeout: 2m}", "", `
prompt "sys> "
answer look
prompt "login: "
answer root
prompt "dut login: "
answer admin
prompt "dut#"
answer hostname dut
prompt "dut#"
answer end
`)
	b.Until("dut", "starting", func(n *api.Node) bool { return n.Console })
	c, err := b.Engine.Console(t.Context(), "r", "dut", backends.Size{})
	if err != nil {
		t.Fatal(err)
	}
	typed := func(text string) {
		t.Helper()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	typed("look\r") // the next prompt is one that would be answered
	b.Until("dut", "a note", func(n *api.Node) bool { return strings.Contains(n.ProgressText, "somebody types") })
	typed("root\r")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b.Ready("dut")
	played(b, dut)
}

// TestLate: what is said of a boot that does not end.
func TestLate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ readiness, talk, want string }{
		"a pattern": {"{probe: log, pattern: 'never (said|written)', timeout: 2s}", "say kernel here\nsay waiting for a licence S3cret!x\nprompt \"stuck at this> \"\nsilent",
			`within 2s: waited for a log line that matches "never (said|written)"; it came to 30%, kernel up; its log ends with: kernel here / waiting for a licence (password) / stuck at this>`},
		"a question too often": {"{probe: dialogue, timeout: 4s}", strings.Repeat("prompt \"(yes/no)?\"\nanswer no\n", 2) + "prompt \"(yes/no)?\"\nsilent",
			`what asks "\\(yes/no\\)\\?" was answered 2 times, which is as often as its kind says`},
		"a port":             {"{probe: tcp, port: 830, timeout: 2s}", "open 22\nsilent", `waited for its port 830 to take a connection (the latest try: port 830 is closed)`},
		"a line before that": {"{probe: ssh, after: 'up and', timeout: 1s}", "say not yet\nsilent", `before that for a line that matches "up and"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := run(t, tt.readiness, "", tt.talk)
			n := b.Until("dut", "an error", func(n *api.Node) bool { return n.Actual == lab.NodeError })
			if !strings.Contains(n.Error, tt.want) {
				t.Errorf("%s\nwant %s", n.Error, tt.want)
			}
		})
	}
}

// TestProbes: a port, a login and a command, each only after its line.
func TestProbes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ readiness, talk string }{
		"tcp": {"{probe: tcp, port: 830, timeout: 1m}", "pause 300ms\nopen 830"},
		"ssh": {"{probe: ssh, after: 'sshd started', timeout: 1m}", "open 22\npause 1500ms\nsay sshd started"},
		"command": {"{probe: command, after: '^end accepted', command: [show, state], pattern: 'ready', interval: 200ms, timeout: 1m}", `
say kernel
pause 300ms
prompt "dut#"
answer hostname dut
prompt "dut#"
answer end
say end accepted
prompt "dut#"
answer show state
say starting
prompt "dut#"
answer show state
say ready
prompt "dut#"
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := run(t, tt.readiness, "", tt.talk)
			b.Ready("dut")
			played(b, dut)
		})
	}
}

// TestLogsBetween: a device that logs on its serial line while a command runs,
// and after the prompt, holds up no command.
func TestLogsBetween(t *testing.T) {
	t.Parallel()
	b := run(t, "{probe: log, pattern: 'is up'}", "", `
say dut is up
answer ""
prompt "dut#"
answer show version
say it is version 7
prompt "dut#"
say %LINK-3-UPDOWN: eth0, changed state to up
answer ""
prompt "dut#"
answer show clock
say %LINK-3-UPDOWN: eth1, changed state to up
say noon
prompt "dut#"
`)
	b.Ready("dut")
	for _, tt := range [][2]string{{"show version", "it is version 7\n"}, {"show clock", "%LINK-3-UPDOWN: eth1, changed state to up\nnoon\n"}} {
		res, err := b.Engine.Exec(t.Context(), "r", "dut", backends.ExecRequest{Command: strings.Fields(tt[0])})
		if err != nil || string(res.Stdout) != tt[1] {
			t.Errorf("%s: %q %v; %v", tt[0], res.Stdout, err, b.Provider.Wrong(dut))
		}
	}
}

// TestEstimate: how long a boot took is known at the next one, also to an
// engine that is started later.
func TestEstimate(t *testing.T) {
	t.Parallel()
	const readiness, talk = "{probe: log, pattern: up, timeout: 1m}", "say kernel\npause 2500ms\nsay up"
	b := run(t, readiness, "", talk)
	if n := b.Ready("dut"); n.Left(time.Now()) != "" {
		t.Errorf("%+v", n)
	}
	if _, err := b.Engine.SetNodes(t.Context(), api.NodesRequest{Lab: "r", Verb: lab.JobRestart}); err != nil {
		t.Fatal(err)
	}
	n := b.Until("dut", "starting again, with an estimate", func(n *api.Node) bool { return n.Actual == lab.NodeStarting && n.Typical > 0 })
	if n.Typical < 2*time.Second || !strings.HasPrefix(n.Left(n.Since), "about ") || !strings.HasPrefix(n.Left(n.Since.Add(time.Hour)), "longer than usual") {
		t.Errorf("%s: %q %q", n.Typical, n.Left(n.Since), n.Left(n.Since.Add(time.Hour)))
	}
	if text, err := os.ReadFile(filepath.Join(b.Dir, "boot-times.json")); err != nil || !strings.Contains(string(text), "toy libvirt") {
		t.Errorf("%s %v", text, err)
	}
}

// TestReplayNotices: a stand-in that accepts everything would prove nothing.
func TestReplayNotices(t *testing.T) {
	t.Parallel()
	for name, talk := range map[string]string{
		"a wrong answer":     "prompt \"login: \"\nanswer root\n",
		"a key too many":     "prompt \"login: \"\nsilent\n",
		"an answer too late": "prompt \"login: \"\nanswer admin\nprompt \"what? \"\nanswer this\n",
	} {
		b := run(t, "{probe: log, pattern: never, timeout: 3s}", "", talk)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		b.Until("dut", "starting", func(n *api.Node) bool { return n.Console })
		err := b.Provider.Result(ctx, dut)
		cancel()
		if err == nil {
			t.Errorf("%s: it was not noticed", name)
		}
	}
	if _, err := replay.Read("testdata/none.talk"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
