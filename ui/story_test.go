package ui_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"archetype/internal/uitest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	uitest.Cleanup()
	os.Exit(code)
}

// quickstart is the first lab that anybody sees.
func quickstart(t *testing.T) string { return example(t, "quickstart") }

func example(t *testing.T, name string) string {
	path, err := filepath.Abs("../examples/" + name + ".clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// labOf writes a topology file of linux nodes that are joined as given.
func labOf(t *testing.T, name string, links ...[2]string) string {
	count, seen := map[string]int{}, map[string]bool{}
	var nodes, wires strings.Builder
	for _, k := range links {
		for _, n := range k {
			if count[n]++; !seen[n] {
				seen[n] = true
				fmt.Fprintf(&nodes, "    %s: {kind: linux}\n", n)
			}
		}
		fmt.Fprintf(&wires, "    - endpoints: [\"%s:eth%d\", \"%s:eth%d\"]\n", k[0], count[k[0]], k[1], count[k[1]])
	}
	path := filepath.Join(t.TempDir(), name+".clab.yml")
	text := "name: " + name + "\ntopology:\n  nodes:\n" + nodes.String() + "  links:\n" + wires.String()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pair(t *testing.T, name string) string { return labOf(t, name, [2]string{"a", "b"}) }

// A newcomer opens the first lab: it comes up, a cable is cut and joined, a
// console opens, and after quitting and coming back everything is there.
func TestFirstDay(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: quickstart(t)})
	u.Sees("6/6 running", "5/5 links up", "● pc3", "enter console", "q quit")

	// The cable of pc1 is its only one: no question is asked.
	u.Types(":").Sees("tab completes").Types("info pc1").Presses("Enter").Sees("identifier", "any other key closes").Presses("q").SeesNot("identifier")
	u.Presses("x").Sees("4/5 links up", "┊", "disconnect pc1:eth1")
	u.Presses("x").Sees("cut: pc1 has no cable to cut")
	u.Presses("c").Sees("5/5 links up")

	// A console, and what a packet says of the lab.
	u.Presses("Enter").Sees("root@pc1", "ctrl+] q back").Types("ping -c 1 pc3 && echo \"ar\"rived").Presses("Enter").Sees("1 received", "arrived")
	u.Presses("C-]").Sees("n next").Presses("q").Sees("1 topology", "q quit")

	// Quitting leaves it running, and says so.
	u.Presses("q").Sees("quickstart goes on running: 6/6 nodes", "left with 0", "icanon echo")
	again := uitest.Open(t, uitest.Setup{Home: u.Home, File: quickstart(t)})
	again.Sees("6/6 running", "5/5 links up")

	// Destroying asks by name, and only the right one will do.
	again.Presses("X").Sees("destroy quickstart", "Type its name").Types("quick").Presses("Enter").Sees("nothing was destroyed")
	again.Sees("6/6 running").Presses("X").Types("quickstart").Presses("Enter").Sees("No lab is deployed", "destroy quickstart: done")
	if labs := u.Home.Labs(t); len(labs) != 0 {
		t.Errorf("labs are left: %v", labs)
	}
}

// Nodes are stopped and started: one, several that are marked, and all.
func TestNodesStopAndStart(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: labOf(t, "three", [2]string{"a", "b"}, [2]string{"b", "c"}, [2]string{"c", "a"})})
	u.Sees("3/3 running", "3/3 links up")
	u.Presses("s").Sees("2/3 running", "○ a", "stop a: done")
	u.Presses("Enter").Sees("console: a is stopped: s starts it")
	u.Presses("s").Sees("3/3 running").Presses("r").Sees("restart a: done", "3/3 running")
	u.Presses("2").Presses("Space", "Space").Sees("2 nodes marked").Presses("s").Sees("1/3 running").Presses("s").Sees("3/3 running").Presses("a").SeesNot("marked")
	u.Presses("S").Sees("the whole of three", "stop all").Types("stop").Presses("Enter").Sees("0/3 running")
	u.Types(":start b").Presses("Enter").Sees("1/3 running", "● b")
	u.Types(":strt").Presses("Enter").Sees("did you mean start?")
	u.Presses("J").Sees("enter chooses", "start b", "completed").Presses("Escape").SeesNot("enter chooses")
	u.Presses("4").Sees("J jobs").Presses("s").Sees("s (start or stop) works in the topology and nodes panes")
}

// A node is added with all that a file could say of it; what makes no sense is told.
func TestAddANode(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "more")})
	u.Sees("2/2 running").Presses("A").Sees("add a node", "key").Types("h9 linux env=A='b c' ports=http").Presses("Enter").Sees("ports: cannot read")
	u.Presses("A").Sees("add a node").Types("h9 linux env=A='b c' cmd='sleep 77'").Presses("Enter").Sees("3/3 running")
	u.Types(":").Sees("tab completes").Types("add h10 env=X=y").Presses("Enter").Sees("4/4 running")
	u.Presses("q").Sees("left with 0")
}

// Several consoles, beside the lab and tiled; one comes back by itself when
// its node was restarted; what was on it stays and is searched.
func TestConsoles(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "consoles"), Size: "140x40"})
	u.Sees("2/2 running").Presses("t").Sees("5 console a", "root@a", "1 topology")
	u.Types("seq 1000 1100; echo e$((1+1))nd").Presses("Enter").Sees("e2nd")
	u.Presses("C-]", "/").Sees("search backwards in a").Types("1007").Presses("Enter").Sees("1007", "lines back").Presses("Escape").SeesNot("lines back")
	u.Presses("C-]", "q").Sees("q quit").Types(":restart a").Presses("Enter")
	u.Sees("console opened again", "2/2 running").Presses("5").Types("echo b$((2+2))ck").Presses("Enter").Sees("b4ck")

	// Both at once, and a size that the node knows of.
	u.Presses("C-]", "q").Types(":console b").Presses("Enter").Sees("root@b").Presses("C-]", "t").Sees("root@a", "root@b")
	u.Presses("C-]", "a").Sees("typing into all 2").Types("echo on-$(hostname) $(stty size)").Presses("Enter").Sees("on-a 36 68", "on-b 36 68")
	u.Presses("C-]", "w").SeesNot("root@b").Presses("C-]", "w").Sees("1 topology")

	// The whole terminal for one, and back.
	u.Presses("E").Sees("console of b: ctrl+] comes back", "root@b").Presses("C-]").Sees("1 topology")
}

// What passes an end of a link is seen live, filtered, looked into and written
// to a file, by key and by verb; it ends with the interface.
func TestCapture(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "captured")})
	u.Sees("2/2 running", "1/1 links up").Presses("3", "p").Sees("capture at which end?", "b:eth1").Presses("Down", "Enter").Sees("capture at b:eth1", "w write")
	if out, err := u.Home.Command("exec", "captured", "a", "--", "sh", "-c",
		"ip addr add 10.9.9.1/24 dev eth1; ping -c 600 -i 0.5 10.9.9.2 >/dev/null 2>&1 &").CombinedOutput(); err != nil {
		t.Fatalf("ping: %v: %s", err, out)
	}
	u.Sees("ARP", "who has 10.9.9.2? tell 10.9.9.1", "follows")
	u.Presses("/").Types("!arp").Presses("Enter").SeesNot("who has").Presses("Escape").Sees("who has")
	u.Presses("g", "/").Types("arp").Presses("Enter", "Enter").Sees("packet of", "SourceProtAddress", "00000000").Presses("x").SeesNot("00000000")
	file := filepath.Join(t.TempDir(), "b.pcap")
	u.Presses("w").Sees("which pcap file?").Presses("C-u").Types(file).Presses("Enter").Sees("written to").Presses("w").Sees(file)
	if b, err := os.ReadFile(file); err != nil || len(b) < 24+16+42 {
		t.Errorf("%s has %d bytes: %v", file, len(b), err)
	}
	out, err := u.Home.Command("capture", "captured", "b:eth1", "-c", "1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), " > ") {
		t.Errorf("capture: %v: %s", err, out)
	}
	u.Presses("q").Sees("3 links").Presses("z").Sees("a to b", "bit/s").Presses("z")
	u.Presses("p", "Down", "Enter").Sees("capture at b:eth1", "who has")
	if out, err := u.Home.Command("stop", "captured", "b").CombinedOutput(); err != nil {
		t.Fatalf("stop: %v: %s", err, out)
	}
	u.Sees("it has ended").Presses("q").Sees("1/2 running", "1/1 links up, 1 without carrier", "1 topology")

	// Somebody else destroys the lab while it is looked at: that is said.
	if out, err := u.Home.Command("destroy", "captured", "--yes").CombinedOutput(); err != nil {
		t.Fatalf("destroy: %v: %s", err, out)
	}
	u.Sees("No lab is deployed", "lab captured is no more")
}

// What a node is configured to do is saved over time, by key and by verb, and
// compared: what was saved with what runs, and two that were saved.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	h := uitest.NewHome(t)
	dir := filepath.Join(h.Dir, "config", "vendors")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	kind := "name: configured\nconsole: {method: shell, shell: [sh]}\nproviders: [netns]\ninterfaces: {any: true}\nconfig_extract: {method: file, path: /tmp/config}\n"
	if err := os.WriteFile(filepath.Join(dir, "configured.yaml"), []byte(kind), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kept.clab.yml")
	if err := os.WriteFile(file, []byte("name: kept\ntopology: {nodes: {a: {kind: configured}, b: {kind: linux}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	verb := func(args ...string) {
		t.Helper()
		c := h.Command(args...)
		c.Dir = t.TempDir()
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	u := uitest.Open(t, uitest.Setup{Home: h, File: file, Size: "80x24"})
	u.Sees("2/2 running")
	verb("exec", "kept", "a", "--", "sh", "-c", "printf 'hostname a\nmtu 1500\n' > /tmp/config")
	u.Presses("v").Sees("configurations of a, 0 saved", "hostname a").Presses("s").Sees("1 saved", "They are alike")
	u.Presses("s").Sees("nothing new was kept")
	verb("exec", "kept", "a", "--", "sh", "-c", "printf 'hostname a\nmtu 9000\n' > /tmp/config")
	u.Presses("r").Sees("-mtu 1500", "+mtu 9000", "to running now")
	verb("save", "kept", "a")
	u.Presses("r").Sees("2 saved", "They are alike").Presses("j").Sees("-mtu 1500", "+mtu 9000").Presses("d").SeesNot("mtu 1500").Sees("mtu 9000", "d differences")
	u.Presses("q").Presses("j").Presses("2", "j", "W").Sees("does not say how its configuration is read")
}

func TestLogs(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "logs")})
	u.Sees("2/2 running").Presses("L").Sees("log of a", "archetype-init: ready", "follows")
	u.Presses("/").Types("!interfaces").Presses("Enter").SeesNot("interfaces 1/1").Sees("init: ready").Presses("Escape").Sees("interfaces 1/1")
	u.Presses("s").Types("namesp").Presses("Enter").Sees("line ").Presses("n").Sees(`"namesp" is not there`)
	u.Presses("?").Sees("wrap long lines").Presses("x").SeesNot("wrap long lines").Presses("Escape").Sees("1 topology")
}

// The list of labs: a file is imported, another lab is opened.
func TestSeveralLabs(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{})
	u.Sees("No lab is deployed", "i import")
	u.Presses("i").Sees("deploy which topology file?", "another file").Presses("Enter").Sees("Path of a topology file").Types(pair(t, "one")).Presses("Enter")
	u.Sees("2/2 running", "one").Presses("Escape").Sees("1 lab on this machine")
	u.Types(":deploy "+pair(t, "two")).Presses("Enter").Sees("two ▾  2/2 running").Presses("Escape").Sees("2 labs on this machine", "one  ", "two  ")
	u.Presses("/").Types("tw").Presses("Enter").SeesNot("one  ").Presses("Escape").Sees("one  ")
	u.Types(":lab one").Presses("Enter").Sees("one ▾  2/2 running")
	u.Types(":disconnect a:eth1 b:eth1").Presses("Enter").Sees("0/1 links up").Types(":connect b:eth1 a:eth1").Presses("Enter").Sees("1/1 links up")
	u.Types(":deploy /none").Presses("Enter").Sees("/none")
}

func TestTheme(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{Env: map[string]string{"TERM": "xterm-256color"}})
	u.Sees("No lab is deployed").Presses("T").Sees("dark", "in use", "light").Types("light").Presses("Enter").Sees("theme light")
	if !strings.Contains(u.Written(), "38;2;11;99;181") {
		t.Error("no colour of the light theme was written")
	}
	u.Presses("C-p").Sees("typing narrows").Presses("Escape").SeesNot("typing narrows").Presses("?").Sees("any other key closes")
}

// The settings say what is available here and why not, move the lab that is
// open to another network, and are kept.
func TestSettings(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "chosen"), Size: "80x24", Env: map[string]string{"TERM": "xterm-256color"}})
	u.Sees("2/2 running", "1/1 links up").Presses(",").Sees("new labs", "lab chosen", "settings.yaml", "enter change", "rootless, in a user namespace", "it needs root")
	u.Presses("i").Sees("netns needs", "user namespace").Presses("x").SeesNot("netns needs")

	// Docker is not for an ordinary user: that is said, with what to do.
	u.Presses("Enter").Sees("typing narrows").Types("docker").Presses("Enter").Sees("docker: it needs root", "To do:").Presses("x").SeesNot("To do:")
	u.Presses("j").Sees("a bridge per link").Presses("Enter").Sees("typing narrows").Types("veth").Presses("Enter").Sees("new labs are wired by veth")
	u.Presses("j", "j", "j").Presses("Enter").Sees("How long a node may take").Presses("C-u").Types("never").Presses("Enter").Sees("never is no time")
	u.Presses("Enter").Presses("C-u").Types("90s").Presses("Enter").Sees("1m30s")

	// The open lab: its provider stays, its links move while it runs.
	u.Presses("j", "Enter").Sees("typing narrows", "you are asked").Types("report").Presses("Enter").Sees("drift in new labs: report")
	u.Presses("j", "j").Sees("They move to another one at a time").Presses("Enter").Sees("typing narrows").Types("veth").Presses("Enter").Sees("swap linuxbridge to veth: done")
	u.Presses("j", "Enter").Sees("typing narrows").Types("ask").Presses("Enter").Sees("drift in chosen: it is left alone, and you are asked")
	u.Presses("j").Sees("auto follows").Presses("Enter").Sees("typing narrows").Types("light").Presses("Enter").Sees("theme light")
	u.Presses("j", "j").Presses("Enter").Sees("Write it as ctrl+]").Presses("C-u").Types("ctrl+g").Presses("Enter").Sees("console key ctrl+g")
	// It asks about what drifts, as it was told to: left alone, or set right.
	u.Presses("Escape").Sees("1 topology", "1/1 links up").Presses("e").Sees("run in a").Types("ip link delete eth1").Presses("Enter").Sees("any other key closes").Presses("x")
	u.Sees("0/1 links up", "F set right", "V leave", "Y always set right", "came apart").Presses("V").SeesNot("F set right").Presses("3", "Enter").Sees("so: F sets it right").Presses("x").SeesNot("any other key closes").Presses("F").Sees("1/1 links up")
	u.Presses("q").Sees("left with 0")
	text, err := os.ReadFile(filepath.Join(u.Home.Dir, "config", "settings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"network: veth", "boot_timeout: 1m30s", "drift: report", "theme: light", "console_key: ctrl+g"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not saved:\n%s", want, text)
		}
	}

	// They are kept: another start has them, and a new lab goes by them.
	again := uitest.Open(t, uitest.Setup{Home: u.Home, File: pair(t, "fresh"), Size: "120x34", Env: map[string]string{"TERM": "xterm-256color"}})
	again.Sees("fresh ▾  2/2 running", "netns · veth").Presses("Enter").Sees("root@a", "ctrl+g").Presses("C-g").Sees("n next").Presses("q").Sees("1 topology")
	if !strings.Contains(again.Written(), "38;2;11;99;181") {
		t.Error("no colour of the light theme was written")
	}
	again.Presses(",").Sees("1m30s", "ctrl+g").ClicksOn("glyphs").Presses("Enter").Types("ascii").Presses("Enter").Sees("glyphs ascii", "+- settings")
}

// At 80x24 one pane fills the screen and the others are a key away; below
// 60x16 it says so, and a resize loses nothing.
func TestSmallScreens(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "small"), Size: "80x24"})
	u.Sees("1 topology", "● a", "2/2 running", "tab pane", "q quit", "3 links 1", "4 events").SeesNot("a:eth1")
	u.Presses("2").Sees("node kind", "b    linux").ClicksOn("3 links").Sees("a:eth1", "b:eth1").Presses("Tab").Sees("b  running after", "     deploy done")
	// The whole of what went wrong is told, and stands until a key.
	u.Types(":deploy /" + strings.Repeat("no/such/folder/", 9) + "lab.clab.yml").Presses("Enter").Sees("no such file").Presses("Tab").SeesNot("no such file")
	// The palette has what works elsewhere, too, and says where.
	u.Presses("3", "C-p").Types("restart").Sees("restart", "works in the topology").Presses("Escape")
	u.Resizes("59x15").Sees("59x15 is too small", "needs 60x16").Resizes("200x60").Sees("1 topology", "2 nodes", "3 links", "4 events")
	u.Presses("1", "Enter").Sees("root@a").Types("seq 1 40").Presses("Enter").Sees("40\n")
	u.Types("echo " + strings.Repeat("x", 150) + "end").Presses("Enter").Sees("xxend\n")
	u.Resizes("80x20").SeesNot("seq 1 40").Resizes("200x60").Sees("xxend", "ctrl+] / search").Presses("C-]", "[").Sees("lines back").Presses("g").Sees("seq 1 40")
}

// Without colour no sequence of colour is written, and with ASCII no byte
// that is none.
func TestPlainTerminals(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "plain"), Env: map[string]string{"NO_COLOR": "1", "LANG": "C"}})
	u.Sees("2/2 running", "@ a").Presses("2", "3", "4", "1").Presses("x").Sees("0/1 links up", ":").Presses("?").Sees("from node to node").Presses("G").Sees("Shapes").Presses("q").SeesNot("Shapes")
	u.Presses("Enter").Sees("root@a").Types(`printf '\033[31mre\144\033[0m\n'`).Presses("Enter").Sees("red\n").Presses("C-]", "q").Sees("q quit").Presses("q").Sees("left with 0")
	out := u.Written()
	program, _, _ := strings.Cut(out, "goes on running")
	for i, c := range []byte(program) {
		if c > 0x7e {
			t.Fatalf("a byte that is not ASCII: %q", program[max(0, i-40):i+8])
		}
	}
	if seq := uitest.Colour(program); seq != "" {
		t.Errorf("a sequence of colour: %q", seq)
	}
}

// Sixteen colours are enough.
func TestFewColours(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: pair(t, "few"), Env: map[string]string{"TERM": "xterm", "COLORTERM": ""}})
	u.Sees("2/2 running").Presses("q").Sees("left with 0")
	if out := u.Written(); strings.Contains(out, "38;2;") || strings.Contains(out, "38;5;") {
		t.Error("more than sixteen colours were written")
	}
}

// The mouse selects, and a click beside a dialog closes it.
func TestMouse(t *testing.T) {
	t.Parallel()
	u := uitest.Open(t, uitest.Setup{File: labOf(t, "mouse", [2]string{"hub", "one"}, [2]string{"hub", "two"})})
	u.Sees("3/3 running").ClicksOn("● two").Presses("i").Sees("─ two ─").Clicks(1, 20).SeesNot("─ two ─")
	u.ClicksOn("hub:eth2").Sees("x cut").Presses("x").Sees("1/2 links up").ClicksOn("3 links").Presses("Enter").Sees("should be   down")
}

// However the program ends, the terminal is as it was.
func TestTerminalIsRestored(t *testing.T) {
	ends := map[string]func(u *uitest.User){
		"panic":        func(u *uitest.User) { u.Presses("C-t").Sees("provoked in the screen") },
		"panic beside": func(u *uitest.User) { u.Presses("C-t").Sees("provoked beside the screen") },
		"SIGTERM":      func(u *uitest.User) { u.Signal(syscall.SIGTERM) },
		"SIGHUP":       func(u *uitest.User) { u.Signal(syscall.SIGHUP) },
		"SIGINT":       func(u *uitest.User) { u.Signal(syscall.SIGINT) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault := "update"
			if name == "panic beside" {
				fault = "beside"
			}
			u := uitest.Open(t, uitest.Setup{Env: map[string]string{"ARCHETYPE_FAULT": fault}})
			u.Sees("No lab is deployed")
			end(u)
			u.Sees("left with", "icanon echo")
			for property, want := range map[string]string{"alternate_on": "0", "cursor_flag": "1", "mouse_any_flag": "0"} {
				if got := u.Terminal(property); got != want {
					t.Errorf("%s is %s", property, got)
				}
			}
		})
	}
}

// The program ends with its terminal, also where whoever has started it, such as
// make, keeps to itself that it has gone.
func TestEndsWithItsTerminal(t *testing.T) {
	for name, deaf := range map[string]bool{"told": false, "not told": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := uitest.Open(t, uitest.Setup{Deaf: deaf})
			u.Sees("No lab is deployed").HangsUp()
		})
	}
}

// Three hundred nodes: all are seen from afar, and one is found by its name.
func TestLargeLab(t *testing.T) {
	if testing.Short() {
		t.Skip("deploys 300 nodes")
	}
	t.Parallel()
	var links [][2]string
	for i := range 300 {
		links = append(links, [2]string{fmt.Sprintf("n%d", i+1), fmt.Sprintf("n%d", (i+1)%300+1)})
	}
	u := uitest.Open(t, uitest.Setup{File: labOf(t, "large", links...), Size: "160x50"})
	u.Sees("300/300 running", "300/300 links up", "overview")
	u.Presses("/").Types("n277").Presses("Enter").Sees("● n277").Presses("1").Sees("overview · n277").Presses("+").Sees("compact", "● n277", "● n278")
	u.Presses("x").Sees("cut which cable of n277?").Presses("Enter").Sees("299/300 links up")
}
