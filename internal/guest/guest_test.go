package guest_test

import (
	"os/exec"
	"strings"
	"testing"

	"archetype/internal/guest"
)

func TestRun(t *testing.T) {
	k := guest.Find(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	script := `echo "$1 $WORD"; cat /etc/given; uname -r; ip link add type vrf table 7 && echo vrf; echo wrong >&2; exit 7`
	r := k.Run(t, guest.Command{Program: busybox, Args: []string{"sh", "-c", script, "sh", "it's"}, Env: []string{"WORD=a b"},
		Modules: []string{"vrf", "8021q"}, Files: []guest.File{{Path: "/etc/given", Data: []byte("a file\n")}}})
	t.Logf("%q", r.Output)
	if r.Code != 7 {
		t.Errorf("exit code %d", r.Code)
	}
	for _, want := range []string{"it's a b\n", "a file\n", "-cloud-amd64\n", "wrong\n"} {
		if !strings.Contains(string(r.Output), want) {
			t.Errorf("no %q in %q; console:\n%s", want, r.Output, r.Console)
		}
	}
}

func TestModules(t *testing.T) {
	k := guest.Find(t)
	list, err := k.Modules("openvswitch", "sch_netem", "virtio-net")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, p := range list {
		seen[p[strings.LastIndexByte(p, '/')+1:]] = i + 1
	}
	for before, after := range map[string]string{"nf_conntrack.ko": "openvswitch.ko", "virtio.ko": "virtio_net.ko"} {
		if seen[before] == 0 || seen[before] > seen[after] {
			t.Errorf("%s is not before %s: %v", before, after, list)
		}
	}
	if seen["sch_netem.ko"] == 0 {
		t.Error("no sch_netem.ko: ", list)
	}
	if _, err := k.Modules("no-such-module"); err == nil {
		t.Error("a module that does not exist is no error")
	}
}
