// Package overlay is what tunnels have in common, whoever makes them: how the
// two ends agree on a number, what fits through the path, and how an end
// finds out that the other is not there.
package overlay

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"archetype/backends"
	"archetype/lab"
)

const (
	// MaxVNI is the largest VXLAN network identifier.
	MaxVNI = 1<<24 - 1
	// DefaultPort is the UDP port of a tunnel that names none.
	DefaultPort = lab.DefaultVXLANPort
	// defaultMTU is that of an interface nobody said anything about.
	defaultMTU = 1500
	// minMTU is what IPv4 asks of every link, in bytes.
	minMTU = 576
)

// VNI is the number of the tunnel between two ends: the same whichever end
// asks, from 1 to MaxVNI.
func VNI(a, b string) uint32 {
	if b < a {
		a, b = b, a
	}
	sum := sha256.Sum256([]byte("vni\x00" + a + "\x00" + b))
	return uint32(binary.BigEndian.Uint64(sum[:])%MaxVNI) + 1
}

// Overhead is what VXLAN adds to a frame's payload on a path between
// addresses of that family, in bytes: the inner Ethernet header, VXLAN, UDP
// and IP.
func Overhead(remote netip.Addr) int {
	if remote.Is4() || remote.Is4In6() {
		return 14 + 8 + 8 + 20
	}
	return 14 + 8 + 8 + 40
}

// Path is how this machine reaches another.
type Path struct {
	Local  netip.Addr
	Device string
	MTU    int // bytes of an IP packet that arrives whole
}

// Complete checks what is wanted of a tunnel and fills in what was left out.
func Complete(t backends.Tunnel) (backends.Tunnel, error) {
	switch {
	case t.Near == "" || t.Far == "" || t.Near == t.Far:
		return t, fmt.Errorf("tunnel %s: its two ends need names that differ", t.ID())
	case !t.Remote.IsValid():
		return t, fmt.Errorf("tunnel %s: it needs the address of the other machine", t.ID())
	case t.Local.IsValid() && t.Local.Unmap().Is4() != t.Remote.Unmap().Is4():
		return t, fmt.Errorf("tunnel %s: %s and %s are not of one family", t.ID(), t.Local, t.Remote)
	case t.VNI > MaxVNI:
		return t, fmt.Errorf("tunnel %s: VNI %d is larger than %d", t.ID(), t.VNI, MaxVNI)
	}
	t.Local, t.Remote = t.Local.Unmap(), t.Remote.Unmap()
	if t.VNI == 0 {
		t.VNI = VNI(t.Near, t.Far)
	}
	if t.UDPPort == 0 {
		t.UDPPort = DefaultPort
	}
	return t, nil
}

// Fit decides the tunnel's MTU: what is wanted, or what its path carries. A
// wish that the path cannot carry is refused: frames would vanish. The note
// says what was lowered and why.
func Fit(t backends.Tunnel, p Path) (mtu int, note string, err error) {
	over := Overhead(t.Remote)
	room := p.MTU - over
	switch {
	case room < minMTU:
		return 0, "", fmt.Errorf("tunnel %s: the path to %s through %s carries packets of %d bytes: too few for a tunnel, which needs %d (%w)",
			t.ID(), t.Remote, p.Device, p.MTU, minMTU+over, backends.ErrConflict)
	case t.MTU > room:
		return 0, "", fmt.Errorf("tunnel %s: MTU %d does not fit: the path to %s through %s carries %d bytes, of which VXLAN takes %d: use an MTU of at most %d, or raise that of %s to %d (%w)",
			t.ID(), t.MTU, t.Remote, p.Device, p.MTU, over, room, p.Device, t.MTU+over, backends.ErrConflict)
	case t.MTU > 0:
		return t.MTU, "", nil
	case room < defaultMTU:
		return room, fmt.Sprintf("MTU %d instead of %d: the path to %s through %s carries %d bytes, of which VXLAN takes %d",
			room, defaultMTU, t.Remote, p.Device, p.MTU, over), nil
	}
	return defaultMTU, "", nil
}

// Narrowed says why a tunnel that fitted its path once does so no more, and
// nothing where it does.
func Narrowed(t backends.Tunnel, p Path) string {
	room := p.MTU - Overhead(t.Remote)
	if t.MTU <= room {
		return ""
	}
	return fmt.Sprintf("the path to %s through %s carries only %d bytes now: payloads above %d are lost; create the tunnel again, or raise the MTU of %s",
		t.Remote, p.Device, p.MTU, room, p.Device)
}

// Taken is the error for a VNI that another tunnel of this machine has.
func Taken(t backends.Tunnel, by string) error {
	return fmt.Errorf("tunnel %s: VNI %d on UDP port %d is taken by %s on this machine: give one of them another vni, at both its ends (%w)",
		t.ID(), t.VNI, t.UDPPort, by, backends.ErrConflict)
}
