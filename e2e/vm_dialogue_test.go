package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"archetype/backends/provider/libvirt/libvirttest"
)

// asks is the init of a machine that stands in for a device which asks while
// it boots: with noise and pauses between, the same thing more than once, and
// with a reboot in the middle. An answer that is wrong it repeats.
const asks = `exec </dev/ttyS0 >/dev/ttyS0 2>&1
want() {
	read -r got
	while [ -z "$got" -a -n "$1" ]; do printf "$2"; read -r got; done
	[ "$got" = "$1" ] || echo "WRONG: $got"
}
if [ "$(dd if=/dev/vda bs=4 count=1 2>/dev/null)" != done ]; then
	echo "unpacking image.bin"
	printf '\000\377\033[2J~~\007\033]\030 noise \303\n'
	sleep 1
	printf 'Enter the initial dialog? (yes/no): '
	want no 'Enter the initial dialog? (yes/no): '
	printf 'New password: '
	stty -echo
	want 'S3cret!x' 'New password: '
	printf '\nNew password again: '
	want 'S3cret!x' 'New password again: '
	stty echo
	printf done | dd of=/dev/vda conv=fsync 2>/dev/null
	echo
	echo "the system restarts"
	sleep 1
	reboot -f
fi
echo "unpacking image.bin"
printf '\033[31mkernel\033[0m 5.4 '
sleep 1
printf 'here\nbox login: '
want admin 'box login: '
printf 'Password: '
stty -echo
want 'S3cret!x' 'Password: '
stty echo
echo
for line in 'hostname vm' 'snmp community V3rySecret' 'end'; do
	printf 'box# '
	want "$line" 'box# '
done
echo "the configuration is in"
`

const asked = `disks: [{size_mb: 1}]
credentials: {username: admin, password: 'S3cret!x'}
dialogue:
  - {expect: '\(yes/no\):', send: 'no', percent: 20, message: asked}
  - {expect: '(?i)new password( again)?:', send: '{password}', percent: 40, message: a new password}
  - {expect: '[Ll]ogin:', send: '{username}', percent: 60, message: logs in}
  - {expect: 'Password:', send: '{password}'}
  - {expect: 'box#', lines: "hostname {hostname}\n{config}\n", percent: 90, message: configured}
  - {expect: 'box#', send: 'end', times: 1, ready: true}
readiness: {probe: dialogue, timeout: 5m}
progress: [{regexp: 'unpacking \S+', percent: 10, message: unpacks}, {text: kernel 5.4 here, percent: 50, message: kernel up}]
`

// bootsByDialogue: a kind of the user's own answers what a real machine asks
// on its serial line, shows how far it is, and gives no secret away.
func (w *world) bootsByDialogue(d *libvirttest.Daemon) {
	w.Helper()
	dir, err := os.MkdirTemp(d.Dir, "asks")
	if err != nil {
		w.Fatal(err)
	}
	w.vendor("asks.yaml", libvirttest.Build(w, dir, asks, nil).YAML("asks", asked))
	w.file("vm.cfg", "snmp community V3rySecret\n")
	s := w.follow(w.file("asks.clab.yml", "name: asks\ntopology: {nodes: {vm: {kind: asks, startup-config: vm.cfg}}}\n"), "vm")
	s.until(100, "configured") // and it never falls
	if steps := slices.Compact(slices.Clone(s.seen)); len(steps) < 3 {
		w.Errorf("per cent shown: %v", steps)
	}
	for range s.lines {
	}
	if err := <-s.end; err != nil {
		w.Errorf("deploy: %v", err)
	}
	said := w.ok("logs", "asks", "vm")
	if strings.Contains(said, "WRONG") || strings.Count(said, "unpacking image.bin") != 2 || !strings.Contains(said, "the configuration is in") {
		w.Errorf("it says\n%s", said)
	}
	log, err := os.ReadFile(filepath.Join(w.state(), "engine.log"))
	if err != nil {
		w.Fatal(err)
	}
	shown := map[string]string{"logs": said, "engine.log": string(log)}
	for _, words := range [][]string{{"inspect", "asks", "--json"}, {"inspect", "asks"}, {"jobs", "asks", "--json"}} {
		shown[strings.Join(words, " ")] = w.ok(words...)
	}
	for where, text := range shown {
		if strings.Contains(text, "S3cret") || where != "logs" && strings.Contains(text, "V3ry") { // the device repeats its configuration itself
			w.Errorf("%s shows a secret:\n%s", where, text)
		}
	}
	w.ok("destroy", "asks", "--yes")
}
