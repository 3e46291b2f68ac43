package nsnet

import (
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// A cable between two devices is dark at both ends when one of them has its
// interface down. Here either end has a carrier of its own, from its far end;
// so while a node has its interface down, the far end of the other's is held:
// down, and marked as such, which tells it from one whose cable is cut. What
// is held is found from what is there alone, so it does not matter who did it,
// or how long ago.

// Lead is a far end of a link that is whole and not cut.
type Lead struct {
	backends.Port
	Far netlink.Link
}

// Up reports whether a far end is; one that is not is held.
func (l Lead) Up() bool { return l.Far.Attrs().Flags&net.FlagUp != 0 }

// awake reports whether the node has its interface up. Of a machine only that it
// runs shows at its tap: when its system sets an interface down, QEMU is not
// told, and what it knows of the interface, its receive filter too, stays the same.
func (l Lead) awake(machine *NS) (bool, error) {
	if tap := l.Attachment.Tap; tap != "" {
		return machine.inUse(tap)
	}
	if l.Up() { // then the carrier says so
		return l.Far.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
	}
	ns, name, err := Place(machine, l.Port)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	have, err := ns.Find(name)
	return have != nil && have.Attrs().Flags&net.FlagUp != 0, err
}

// Follow says which far ends should be up, and whether one is not as it should
// be. Machine is where taps are.
func Follow(machine *NS, leads [2]Lead) (want [2]bool, behind bool, err error) {
	for i, l := range leads {
		if want[1-i], err = l.awake(machine); err != nil {
			return want, false, err
		}
	}
	for i, l := range leads {
		behind = behind || l.Up() != want[i]
	}
	return want, behind, nil
}

// Bring has the far ends of a link be as wanted. It looks once more where nobody
// is at work on the link, because whoever was may have done so; set then sets one
// end, those that are to go down first. Where it fails, what made it fail is news
// of its own.
func (w *Watch) Bring(l backends.Link, locks *Locks, look func() (want [2]bool, behind bool, err error), set func(i int, up bool)) {
	defer locks.Lock(l.A, l.B)()
	want, behind, err := look()
	if !behind || err != nil || !w.Knows(l) {
		return
	}
	for _, up := range []bool{false, true} {
		for i := range want {
			if want[i] == up {
				set(i, up)
			}
		}
	}
}
