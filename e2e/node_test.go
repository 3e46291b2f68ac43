package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

const two = `
name: two
topology:
  nodes:
    a:
      kind: linux
      env: {COLOUR: "deep blue", API_TOKEN: not-to-be-told}
      exec:
        - echo "made of $COLOUR" >/root/made
        - ip addr add 192.0.2.9/32 dev lo
        - |
          echo no such thing as $API_TOKEN
          exit 3
      binds:
        - files:/mnt/files:ro
        - share:/mnt/share
      labels: {owner: tests}
      sysctls: {net.ipv4.ip_forward: "1"}
      startup-config: a.cfg
    b: {kind: linux}
  links:
    - type: veth
      mtu: 1400
      endpoints:
        - {node: a, interface: eth1, ipv4: 10.7.0.1/24, ipv6: 2001:db8:7::1/64}
        - {node: b, interface: uplink, ipv4: 10.7.0.2/24, ipv6: 2001:db8:7::2/64}
`

func twoNodes(w *world) {
	w.Helper()
	w.file("files/given", "from the machine\n")
	w.file("share/given", "shared\n")
	w.file("a.cfg", "hostname a\n! the end\n")
	if out := w.ok("deploy", w.file("two.clab.yml", two)); !strings.Contains(out, "warn: exec: echo no such thing as $API_TOKEN exit 3: exit code 3: no such thing as (secret)") {
		w.Errorf("that a command failed is not told in\n%s", out)
	}
}

// TestNodeIsAMachineOfItsOwn looks around inside a node.
func TestNodeIsAMachineOfItsOwn(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		is := func(script, want string) {
			w.Helper()
			if got := w.sh("two", "a", script); got != want {
				w.Errorf("%s: got %q, want %q", script, got, want)
			}
		}
		is("hostname; cat /etc/hostname", "a\na")
		hosts := w.sh("two", "a", "cat /etc/hosts")
		for _, want := range []string{`10\.7\.0\.1\s+a\b`, `10\.7\.0\.2\s+b\b`, `2001:db8:7::2\s+b\b`, `127\.0\.0\.1\s+localhost`} {
			if !regexp.MustCompile(want).MatchString(hosts) {
				w.Errorf("/etc/hosts lacks %s:\n%s", want, hosts)
			}
		}
		// Processes: its own, counted from 1, and nobody else's.
		w.sh("two", "b", "sleep 4321 &")
		is(`tr '\0' ' ' </proc/1/cmdline`, "archetype init two/a")
		if got := w.sh("two", "a", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); strings.Contains(got, "4321") || strings.Contains(got, "two/b") {
			w.Errorf("a sees b's processes: %s", got)
		}
		if n := len(w.find("", func(p process) bool { return p.command == "sleep 4321" })); n != 1 {
			w.Errorf("b's process runs %d times", n)
		}
		// Files: writable scratch, seen by nobody else; the machine's own are not touched.
		for _, dir := range []string{"/etc", "/root", "/tmp", "/var/tmp", "/run", "/opt"} {
			is("echo mine >"+dir+"/e2e-scratch && cat "+dir+"/e2e-scratch", "mine")
			if _, err := os.Stat(dir + "/e2e-scratch"); err == nil {
				w.Errorf("%s/e2e-scratch is on the machine", dir)
			}
			if w.run("exec", "two", "b", "--", "cat", dir+"/e2e-scratch").code == 0 {
				w.Errorf("b sees a's %s/e2e-scratch", dir)
			}
		}
		if r := w.run("exec", "two", "a", "--", "sh", "-c", "echo x >/usr/e2e-scratch"); r.code == 0 {
			w.Error("a writes to the machine's /usr")
		}
		is("rm -f /etc/hosts && test ! -e /etc/hosts && echo gone", "gone")
		is("umount -l /mnt/files 2>/dev/null; mkdir /tmp/m && mount -t tmpfs none /tmp/m && echo own", "own")
		if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), "/tmp/m ") {
			w.Error("a's mount is on the machine")
		}
	})
}

// TestWhatTheFileSaysOfANode is applied.
func TestWhatTheFileSaysOfANode(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		for _, c := range []struct{ node, script, want string }{
			{"a", "echo $COLOUR", "deep blue"},
			{"a", "cat /root/made", "made of deep blue"},
			{"a", "ip addr show lo | grep -o 192.0.2.9/32", "192.0.2.9/32"},
			{"a", "cat /proc/sys/net/ipv4/ip_forward", "1"},
			{"a", "cat /etc/startup-config", "hostname a\n! the end"},
			{"a", "cat /mnt/files/given", "from the machine"},
			{"a", "(echo x >/mnt/files/new) 2>/dev/null || echo read-only", "read-only"},
			{"a", "ip link show eth1 | grep -o 'mtu [0-9]*'", "mtu 1400"},
			{"b", "ip link show uplink | grep -o 'mtu [0-9]*'", "mtu 1400"},
			{"b", "ip addr show uplink | grep -o '10.7.0.2/24'", "10.7.0.2/24"},
			{"b", "ip -6 addr show uplink | grep -o '2001:db8:7::2/64'", "2001:db8:7::2/64"},
			{"a", "echo back >/mnt/share/answer && cat /mnt/share/given", "shared"},
		} {
			if got := w.sh("two", c.node, c.script); got != c.want {
				w.Errorf("%s: %s: got %q, want %q", c.node, c.script, got, c.want)
			}
		}
		if got, err := os.ReadFile(w.dir + "/share/answer"); err != nil || string(got) != "back\n" {
			w.Errorf("what a has written through a bind: %q, %v", got, err)
		}
		for _, to := range []string{"b", "10.7.0.2", "2001:db8:7::2"} {
			// IPv6 addresses may still be checked for duplicates.
			if !became(func() bool { return w.ping("two", "a", to) }) {
				w.Errorf("a does not reach %s", to)
			}
		}
		// A packet of the MTU crosses whole, a larger one does not.
		if r := w.run("exec", "two", "a", "--", "ping", "-c1", "-W1", "-s", "1372", "10.7.0.2"); r.code != 0 {
			w.Errorf("1400 bytes: %s", r)
		}
		// Once more after a restart: all of it comes again.
		w.ok("restart", "two", "a")
		if got := w.sh("two", "a", "cat /root/made /etc/startup-config; echo $COLOUR"); got != "made of deep blue\nhostname a\n! the end\ndeep blue" {
			w.Errorf("after a restart: %q", got)
		}
	})
}

// TestInterfacesOfAKind: a file may use the device's own names, and the kind says
// with what MTU they begin.
func TestInterfacesOfAKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("switch.yaml", `
name: eswitch
providers: [netns]
interfaces: {pattern: "eth{n}", first: 1, max: 8, alias: "Ethernet{n}", mtu: 4000}
`)
	w.ok("deploy", w.file("alias.clab.yml", `
name: alias
topology:
  nodes: {s: {kind: eswitch}, h: {kind: linux}}
  links: [{endpoints: ["s:Ethernet3", "h:eth1"]}]
`))
	if got := w.inspect("alias").link("s:eth3", "h:eth1"); got.Actual != "up" {
		t.Errorf("the link: %+v", w.inspect("alias").Links)
	}
	if got := w.sh("alias", "s", "ip link show eth3"); !strings.Contains(got, "LOWER_UP") || !strings.Contains(got, "mtu 4000") {
		t.Errorf("s:eth3: %s", got)
	}
	if got := w.sh("alias", "h", "ip link show eth1"); !strings.Contains(got, "mtu 1500") {
		t.Errorf("h:eth1: %s", got)
	}
	w.ok("link", "disconnect", "alias", "s:eth3", "h:eth1")
}

func TestExec(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		// No signal is ignored or blocked that a program does not expect so.
		// But for 32 and 33, the C library's own, which are as they were for
		// whoever ran this test.
		got := w.sh("two", "a", "grep -E 'Sig(Ign|Blk)' /proc/self/status | tr -d '\t\n'")
		var blocked, ignored uint64
		if _, err := fmt.Sscanf(got, "SigBlk:%xSigIgn:%x", &blocked, &ignored); err != nil || blocked != 0 || ignored&^(3<<31) != 0 {
			w.Errorf("a program starts with %s", got)
		}
		r := w.code(3, "exec", "two", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
		if r.out != "out\n" || r.err != "err\n" {
			w.Errorf("streams: %q and %q", r.out, r.err)
		}
		w.code(0, "exec", "two", "a", "true") // the dashes may be left out
		if r := w.runWith("one\ntwo\n", "exec", "-i", "two", "a", "--", "wc", "-l"); strings.TrimSpace(r.out) != "2" {
			w.Errorf("stdin: %s", r)
		}
		if r := w.runWith("not wanted\n", "exec", "two", "a", "--", "wc", "-c"); strings.TrimSpace(r.out) != "0" {
			w.Errorf("stdin that was not asked for: %s", r)
		}
		big := strings.Repeat("0123456789abcdef\n", 20000)
		if r := w.runWith(big, "exec", "-i", "two", "a", "--", "cat"); r.out != big {
			w.Errorf("of %d bytes %d came back", len(big), len(r.out))
		}
		if r := w.code(1, "exec", "two", "a", "--", "no-such-program"); !strings.Contains(r.err, "no-such-program: no such program in the node") {
			w.Errorf("it says %q", r.err)
		}
		w.code(137, "exec", "two", "a", "--", "sh", "-c", "kill -9 $$")
		// What a command leaves in the background neither holds it up nor dies.
		w.code(0, "exec", "two", "a", "--", "sh", "-c", "sleep 5432 & echo left")
		if n := len(w.find("", func(p process) bool { return p.command == "sleep 5432" })); n != 1 {
			w.Errorf("in the background: %d", n)
		}
		// Who hangs up ends the command.
		b := w.begin("exec", "two", "a", "--", "sleep", "6543")
		running := func() bool {
			return len(w.find("", func(p process) bool { return p.command == "sleep 6543" })) == 1
		}
		w.await("the command to run", running)
		w.kill(b.pid)
		w.await("the command to end with its caller", func() bool { return !running() })
		w.code(0, "exec", "-w", "/etc", "two", "a", "--", "sh", "-c", "test $PWD = /etc")
	})
}

// terminal is the program on a terminal of its own.
type terminal struct {
	*world
	pty *os.File
	buf bytes.Buffer
	in  chan byte
	end chan error
}

func (w *world) terminal(rows, cols uint16, args ...string) *terminal {
	w.Helper()
	cmd := w.command(w.Context(), args...)
	attr := w.credential()
	attr.Setsid, attr.Setctty = true, true
	f, err := pty.StartWithAttrs(cmd, &pty.Winsize{Rows: rows, Cols: cols}, attr)
	if err != nil {
		w.Fatal(err)
	}
	t := &terminal{world: w, pty: f, in: make(chan byte, 1<<16), end: make(chan error, 1)}
	w.Cleanup(func() { _ = f.Close() })
	go func() {
		defer close(t.in)
		r := bufio.NewReader(f)
		for {
			b, err := r.ReadByte()
			if err != nil {
				break
			}
			t.in <- b
		}
		t.end <- cmd.Wait()
	}()
	return t
}

func (t *terminal) say(text string) {
	t.Helper()
	if _, err := io.WriteString(t.pty, text); err != nil {
		t.Fatal(err)
	}
}

// until reads until the output matches, and forgets it up to there.
func (t *terminal) until(pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for open := true; open; {
		var b byte
		select {
		case b, open = <-t.in:
		case <-late:
			open = false
		}
		if open {
			t.buf.WriteByte(b)
		}
		if open && re.Match(t.buf.Bytes()) {
			t.buf.Reset()
			return
		}
	}
	t.Fatalf("the terminal never showed %q; it showed %q", pattern, t.buf.String())
}

// rest reads to the end and returns how the program ended.
func (t *terminal) rest() error {
	t.Helper()
	select {
	case err := <-t.end:
		return err
	case <-time.After(patience):
		return fmt.Errorf("it goes on; it showed %q", t.buf.String())
	}
}

func TestConsole(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		c := w.terminal(50, 132, "console", "two", "a")
		c.until(`ctrl\+\] leaves it`)
		c.say("stty size; echo at-$(hostname)\r")
		c.until(`\b50 132\r`)
		c.until(`at-a\r`)
		if err := pty.Setsize(c.pty, &pty.Winsize{Rows: 31, Cols: 97}); err != nil {
			w.Fatal(err)
		}
		// The size arrives on its own way; the shell says when it has.
		c.say("until [ \"$(stty size)\" = '31 97' ]; do sleep 0.02; done; echo resized-$((1+1))\r")
		c.until(`resized-2\r`)
		c.say("sh -c 'echo sleeping-$((2+1)); exec sleep 1000'\r")
		c.until(`sleeping-3\r`)
		c.say("\x03")
		c.until(`\^C(?s:.*)[#$] `) // the prompt
		c.say("echo interrupted-$((2+2))\r")
		c.until(`interrupted-4\r`)
		c.say("sleep 8765 & exit 0\r") // what holds the terminal does not hold us
		if err := c.rest(); err != nil {
			w.Errorf("a console that was exited from: %v", err)
		}

		c = w.terminal(24, 80, "console", "two", "b")
		c.until(`leaves it`)
		c.say("sh -c 'echo at-$(hostname); exec sleep 7654'\r")
		c.until(`at-b\r`)
		c.say("\x1d")
		c.until(`left the console of b`)
		if err := c.rest(); err != nil {
			w.Errorf("a console that was left: %v", err)
		}
		w.await("what ran in the console to end", func() bool {
			return len(w.find("", func(p process) bool { return p.command == "sleep 7654" })) == 0
		})
	})
}

func TestLogs(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		if out := w.ok("logs", "two", "a"); !strings.Contains(out, "archetype-init: ready") {
			w.Errorf("logs: %q", out)
		}
		if out := w.ok("logs", "two", "a", "-n", "1"); strings.Count(out, "\n") != 1 {
			w.Errorf("the last line: %q", out)
		}
		cmd := w.command(w.Context(), "logs", "two", "a", "-f", "-n", "1")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			w.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			w.Fatal("no line")
		}
		w.ok("restart", "two", "a")
		starts := 0
		for starts == 0 && lines.Scan() {
			if strings.Contains(lines.Text(), "namespaces ready") {
				starts++
			}
		}
		if starts == 0 {
			w.Error("logs -f has not followed the restart")
		}
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			w.Errorf("logs -f interrupted: %v", err)
		}
		w.sh("two", "a", "echo from a process >>/proc/1/fd/1 2>/dev/null || true")
		if out := w.ok("logs", "two", "a", "--boot"); strings.Count(out, "namespaces ready") != 1 {
			w.Errorf("since its latest start: %q", out)
		}
	})
}

// TestFigures: what a node consumes is told.
func TestFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	twoNodes(w)
	w.sh("two", "b", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
	out := w.ok("inspect", "two")
	row := strings.Fields(lineWith(out, "b     "))
	if len(row) < 7 {
		t.Fatalf("inspect says\n%s", out)
	}
	cpu, err := strconv.ParseFloat(strings.TrimSuffix(row[5], "s"), 64)
	if err != nil || cpu <= 0 {
		t.Errorf("CPU %q in\n%s", row[5], out)
	}
	if !strings.HasSuffix(row[6], "MB") {
		t.Errorf("memory %q in\n%s", row[6], out)
	}
}
