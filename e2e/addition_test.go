package e2e

import (
	"strings"
	"testing"
)

// TestAnAddedNodeIsWhatAFileWouldSay of it: by flags, which take every field of
// a node, or by a file; with a file's errors.
func TestAnAddedNodeIsWhatAFileWouldSay(t *testing.T) {
	everyMode(t, func(w *world) {
		twoNodes(w)
		w.file("more.env", "GREETING=hello\n")
		w.ok("node", "add", "two", "c", "--env", "COLOUR=$deep {{red}}", "--bind", "files:/mnt/files:ro", "--exec", "echo \"$COLOUR\" >/root/made",
			"--set", "env-files=more.env", "--set", "sysctls=net.ipv4.ip_forward=1", "--set", "startup-config=a.cfg", "--cmd", "sleep 4322")
		w.file("d/d.yml", "kind: linux\nbinds: [\"../files:/mnt/files\"]\nenv: {COLOUR: ${SHADE:-green}}\nexec: [\"echo $$COLOUR >/root/made\"]\n")
		w.ok("node", "add", "two", "d", "--file", "d/d.yml")
		for _, c := range []struct{ node, script, want string }{
			{"c", "echo \"$COLOUR $GREETING\"", "$deep {{red}} hello"},
			{"c", "cat /root/made", "$deep {{red}}"},
			{"c", "cat /mnt/files/given", "from the machine"},
			{"c", "cat /proc/sys/net/ipv4/ip_forward", "1"},
			{"c", "cat /etc/startup-config", "hostname a\n! the end"},
			{"d", "cat /root/made /mnt/files/given", "green\nfrom the machine"},
		} {
			if got := w.sh("two", c.node, c.script); got != c.want {
				w.Errorf("%s: %s: got %q, want %q", c.node, c.script, got, c.want)
			}
		}
		if n := len(w.find("", func(p process) bool { return p.command == "sleep 4322" })); n != 1 {
			w.Errorf("its command runs %d times", n)
		}
		w.file("bad.yml", "kind: linux\nimgae: x\n")
		w.file("empty.yml", "\n")
		for _, c := range []struct {
			args []string
			says string
		}{
			{[]string{"x", "--file", "bad.yml"}, `/bad.yml:2:1: error: node "x": unknown field "imgae" (did you mean "image"?)`},
			{[]string{"x", "--file", "empty.yml"}, `/empty.yml:1:1: error: node "x": nothing is said of it`},
			{[]string{"x", "--file", "bad.yml", "--cmd", "y"}, "--file has all of the node"},
			{[]string{"x", "--set", "imgae=x"}, `node "x": unknown field "imgae" (did you mean "image"?)`},
			{[]string{"x", "--set", "memory"}, `"memory": write key=value`},
			{[]string{"x", "--set", "memory=much", "--port", "http"}, `memory: "much" is not a size`},
			{[]string{"x", "--set", "memory=much", "--port", "http"}, `ports: cannot read "http"`},
			{[]string{"x", "--bind", "nothing:/x"}, `binds: "nothing:/x": no such file or folder`},
			{[]string{"x", "--set", "env=A"}, "write env=NAME=VALUE"},
			{[]string{"x", "--cmd", "a", "--cmd", "b"}, "cmd is given 2 times"},
			{[]string{"x", "--kind", "linx"}, `unknown kind "linx" (did you mean "linux"?)`},
			{[]string{"x", "--kind", "host"}, "would be a part of this machine"},
			{[]string{"x", "--set", "stages={create: {wait-for: [{node: nobody, stage: create}]}}"}, `wait-for: unknown node "nobody"`},
			{[]string{"_x"}, `node name "_x" cannot be a host name`},
		} {
			if r := w.code(2, append([]string{"node", "add", "two"}, c.args...)...); !strings.Contains(r.err, c.says) {
				w.Errorf("%q says\n%s\nwithout %q", c.args, r.err, c.says)
			}
		}
		if r := w.code(1, "node", "add", "two", "c"); !strings.Contains(r.err, "has a node c already") {
			w.Errorf("a second c: %s", r.err)
		}
	})
}
