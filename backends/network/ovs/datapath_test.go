package ovs_test

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"archetype/backends/network/ovs"
)

// Who carries frames is as the settings say and is told; a kernel that has no
// datapath is refused before anything is made, not found in a link's failure.
func TestDatapathIsAsWanted(t *testing.T) {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	for wanted, c := range map[ovs.Datapath]struct{ has, is, told string }{
		ovs.Automatic: {"system", "netdev", "userspace datapath"},
		ovs.Userspace: {"netdev", "netdev", "userspace datapath"},
		ovs.Kernel:    {"system", "", "no datapath for Open vSwitch"},
	} {
		if err == nil {
			if c.is = c.has; c.is == "system" {
				c.told = "kernel datapath"
			}
		}
		b := newBench(t, ovs.Config{Datapath: wanted})
		a := b.Available(t.Context())
		if a.OK != (c.is != "") || !strings.Contains(a.Detail+a.Reason, c.told) || a.OK == (a.Fix != "") {
			t.Errorf("%s: %+v", wanted, a)
		}
		if !a.OK {
			continue
		}
		b.must(b.Connect(t.Context(), b.cable("a:eth1", "b:eth1")))
		if is := b.sw.Ctl("get", "bridge", "arch0", "datapath_type"); strings.TrimSpace(is) != c.is {
			t.Errorf("%s: the bridge has %s, and should have %s", wanted, is, c.is)
		}
		if again := b.Available(t.Context()); again.Detail != a.Detail {
			t.Errorf("%s: once it is there it is told of %q, and was of %q", wanted, again.Detail, a.Detail)
		}
	}
	if _, err := ovs.New(ovs.Config{Datapath: "fast"}); err == nil || !strings.Contains(err.Error(), "userspace") {
		t.Errorf("of a datapath that there is not it says %v", err)
	}
}
