package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"archetype/backends/mark"
)

// TestWhatIsNotTrueIsNoticed meddles with a lab and holds what was said of it
// before against the machine: a comparison that finds nothing proves nothing.
func TestWhatIsNotTrueIsNoticed(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		notice(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Parallel()
	alone(t)
}

func notice(t *testing.T) {
	p := thePairs()[1] // bridges, of which ports can be taken
	p.here(t)
	w := p.w
	o := &torture{p: p, w: w, random: rand.New(rand.NewPCG(1, 1))}
	file, _ := p.standing(3)
	w.ok("deploy", file, "--drift", "report") // nothing is set right meanwhile
	w.ok("link", "impair", faultLab, "n0:eth1", "n1:eth2", "--rate", "5mbit")
	to := func(use, id string, do func(h *netlink.Handle, l netlink.Link) error) {
		t.Helper()
		var failed error
		found := o.toMarked(func(m mark.Mark, _ iface) bool { return m.Use == use && m.ID == id },
			func(h *netlink.Handle, l netlink.Link) error { failed = do(h, l); return failed })
		if found == "" || failed != nil {
			t.Fatalf("%s of %s: %q, %v", use, id, found, failed)
		}
	}
	for _, c := range []struct {
		words  string
		meddle func()
	}{
		{"n0:eth1 is a veth with MTU 1400", func() {
			to("", "n0:eth1", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetMTU(l, 1400) })
		}},
		{"to n1:eth2 pass 0 bits a second, not 5000000", func() {
			to("far", "n1:eth2", func(h *netlink.Handle, l netlink.Link) error {
				all, err := h.QdiscList(l)
				at := slices.IndexFunc(all, func(q netlink.Qdisc) bool { return q.Type() == "tbf" })
				if err != nil || at < 0 {
					return fmt.Errorf("no limit: %v, %w", all, err)
				}
				return h.QdiscDel(all[at])
			})
		}},
		{"what f/n1:eth1 sends does not come to f/n2:eth2", func() {
			to("far", "n2:eth2", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetNoMaster(l) })
		}},
		{"what f/n0:eth1 sends comes to f/n2:eth2", func() {
			to("far", "n2:eth2", func(h *netlink.Handle, l netlink.Link) error {
				all, err := h.LinkList()
				at := slices.IndexFunc(all, func(l netlink.Link) bool {
					m, _ := mark.Parse(l.Attrs().Alias)
					return m.Use == "far" && m.ID == "n1:eth2"
				})
				if err != nil || at < 0 {
					return fmt.Errorf("no such port: %w", err)
				}
				return h.LinkSetMasterByIndex(l, all[at].Attrs().MasterIndex)
			})
		}},
		{"carrier on, and n0:eth1 sees false", func() {
			to("far", "n0:eth1", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetDown(l) })
		}},
		{"an interface of no link: n0:more", func() {
			to("", "n0:eth1", func(h *netlink.Handle, _ netlink.Link) error {
				more := link("more")
				more.Alias = "archetype:f:n0:more"
				if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: more}); err != nil {
					return err
				}
				made, err := h.LinkByName("more")
				if err != nil {
					return err
				}
				return h.LinkSetAlias(made, more.Alias)
			})
		}},
		{"there is no interface n0:eth2", func() {
			to("", "n0:eth2", func(h *netlink.Handle, l netlink.Link) error { return h.LinkDel(l) })
		}},
		{"n2 is running, and runs: false", func() { w.kill(w.inspect(faultLab).node("n2").PID) }},
	} {
		said := w.inspect(faultLab)
		for i, k := range said.Links { // as it was before it was meddled with
			said.Links[i].Actual, said.Links[i].Error = k.Desired, ""
		}
		c.meddle()
		hears := strings.Contains(c.words, "sends")
		if got := strings.Join(p.agrees(said), "\n"); !hears && !strings.Contains(got, c.words) {
			t.Errorf("it does not notice that %s, but\n%s", c.words, got)
		}
		if hears {
			if got := strings.Join(p.wired([]*inspectJSON{said}), "\n"); !strings.Contains(got, c.words) {
				t.Errorf("it does not notice that %s, but\n%s", c.words, got)
			}
		}
	}
	p.gone()
}
