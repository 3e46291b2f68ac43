package wire

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"archetype/internal/unixsock"
)

// owned accepts connections of the engine's own user, of root and of the
// members of a group only, and of each no more than there is room for.
type owned struct {
	net.Listener
	*server
}

// peerConn is a connection of somebody who may connect.
type peerConn struct {
	net.Conn
	peer    unixsock.Peer
	door    *door
	holding *holding // of its user
	tooSlow func(*peerConn)
	left    sync.Once
}

func (o *owned) Accept() (net.Conn, error) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, ok := o.allowed(c)
		if !ok {
			_ = c.Close()
			continue
		}
		h, full, first := o.door.enter(p.UID)
		if full == nil {
			return &peerConn{Conn: c, peer: p, door: o.door, holding: h, tooSlow: o.drop}, nil
		}
		if first {
			o.log.Warn("a connection is refused", "why", full.Message)
		}
		o.door.refuse(c, full)
	}
}

func (o *owned) allowed(c net.Conn) (unixsock.Peer, bool) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return unixsock.Peer{}, false
	}
	p, err := unixsock.PeerOf(u)
	if err != nil {
		return p, false
	}
	// Inside a user namespace the owner reads as 0; a root of the machine
	// that is not mapped reads as the overflow ID, and does without.
	return p, own(p.UID) || o.opt.Group != 0 && slices.Contains(p.Groups, o.opt.Group)
}

// printable is a text without what would be no part of a line.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if !strconv.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, ""))
}

// owner is who asks, fit to be shown: what a client says of itself or, of
// another user's, who the kernel says it is.
func owner(r *http.Request) string {
	const most = 100
	who := printable(r.Header.Get(headerOwner))
	if c, ok := r.Context().Value(connKey{}).(*peerConn); ok && c.peer.UID != uint32(os.Geteuid()) {
		_, verb, _ := strings.Cut(who, ", ")
		verb, _, _ = strings.Cut(verb, ", ")
		who = fmt.Sprintf("%s, %s, process %d", nameOf(c.peer.UID), verb[:min(len(verb), most/2)], c.peer.PID)
	}
	return strings.ToValidUTF8(who[:min(len(who), most)], "")
}
