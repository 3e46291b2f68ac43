package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"archetype/engine/api"
)

// limits are what those who connect may have at once, by user as the kernel
// names them: who may use the engine cannot keep it from others. A client sees
// to it that one request at a time is under way on a connection.
type limits struct {
	own    int // connections of the engine's own user, and of root
	user   int // of each other user
	others int // of all of those together

	ownCalls, userCalls int           // requests that are carried out, but for those that go on
	turn                time.Duration // how long one waits for its turn
	body                time.Duration // how long a request may take to arrive
	slow                time.Duration // how long a client may take nothing of what it asked for
}

// limitsOf are those of an engine that may have so many files open: the greater
// part of them is for labs, and of the rest the greater part for its owner.
func limitsOf(files int) limits {
	return limits{own: min(4096, files/2), user: min(256, files/8), others: min(1024, files/4),
		ownCalls: 256, userCalls: 16, turn: 10 * time.Second, body: 30 * time.Second, slow: 5 * time.Minute}
}

// openFiles is how many this process may have.
func openFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// holding is what one user has.
type holding struct {
	conns int
	calls chan struct{}
}

// door lets in whom there is room for.
type door struct {
	limits
	refusing chan struct{} // slots for those who are told why

	mu     sync.Mutex
	users  map[uint32]*holding
	others int
	said   time.Time // when the log was last told that there is no room
}

func newDoor(l limits) *door {
	return &door{limits: l, refusing: make(chan struct{}, 64), users: map[uint32]*holding{}}
}

func own(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// nameOf is a user as people know them.
func nameOf(uid uint32) string {
	id := strconv.Itoa(int(uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// enter counts one more connection of a user; first: the log has not been told
// lately that there is no room.
func (d *door) enter(uid uint32) (h *holding, err *api.Error, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h = d.users[uid]
	if h == nil {
		h = &holding{calls: make(chan struct{}, d.userCalls)}
		if own(uid) {
			h.calls = make(chan struct{}, d.ownCalls)
		}
		d.users[uid] = h
	}
	most := d.user
	if own(uid) {
		most = d.own
	}
	switch {
	case h.conns >= most:
		err = api.Errorf(api.CodeUnavailable, "%s has %d connections to the engine, as many as one user may have", nameOf(uid), h.conns)
		err.Hint = "end workbenches, consoles, logs or verbs of this user, and try again"
	case !own(uid) && d.others >= d.limits.others:
		err = api.Errorf(api.CodeUnavailable, "the group's members have %d connections to the engine, as many as they may have together", d.others)
		err.Hint = "try again when some of them have ended workbenches, consoles or logs"
	default:
		h.conns++
		if !own(uid) {
			d.others++
		}
		return h, nil, false
	}
	if first = time.Since(d.said) > time.Minute; first {
		d.said = time.Now()
	}
	if h.conns == 0 {
		delete(d.users, uid) // nobody ends what never began
	}
	return nil, err, first
}

func (d *door) leave(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.users[uid]
	if h.conns--; h.conns == 0 {
		delete(d.users, uid)
	}
	if !own(uid) {
		d.others--
	}
}

// refuse tells a client why and hangs up: when it has asked for something,
// because HTTP has no answer without a question. Where many are refused at once
// the others are told at once, and understand it or not.
func (d *door) refuse(c net.Conn, why *api.Error) {
	say := func() {
		defer func() { _ = c.Close() }()
		text, _ := json.Marshal(why)
		var b bytes.Buffer
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			status(why.Code), http.StatusText(status(why.Code)), len(text), text)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(b.Bytes())
	}
	select {
	case d.refusing <- struct{}{}:
		go func() {
			defer func() { <-d.refusing }()
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = c.Read(make([]byte, 1))
			say()
		}()
	default:
		say()
	}
}

// call waits for the turn of a request; done ends it.
func (d *door) call(r *http.Request) (done func(), err error) {
	c, ok := r.Context().Value(connKey{}).(*peerConn)
	if !ok {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.turn)
	defer cancel()
	select {
	case c.holding.calls <- struct{}{}:
		return func() { <-c.holding.calls }, nil
	case <-ctx.Done():
		err := api.Errorf(api.CodeUnavailable, "%d requests of %s are under way, as many as one user may have at once", cap(c.holding.calls), nameOf(c.peer.UID))
		err.Hint = "try again when some of them have been answered"
		return nil, err
	}
}

// maxWrite is what is written at once, so that who reads steadily is not taken
// for one who does not.
const maxWrite = 64 << 10

// Write gives up a client that reads nothing any more: what it asked for would
// be held for ever.
func (c *peerConn) Write(p []byte) (n int, err error) {
	for {
		_ = c.SetWriteDeadline(time.Now().Add(c.door.slow))
		part, err := c.Conn.Write(p[n:min(len(p), n+maxWrite)])
		n += part
		if errors.Is(err, os.ErrDeadlineExceeded) && c.tooSlow != nil {
			c.tooSlow(c)
			_ = c.Close()
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *peerConn) Close() error {
	c.left.Do(func() { c.door.leave(c.peer.UID) })
	return c.Conn.Close()
}

// drop tells the process at the other end why one of its connections is cut, on
// the one that is its presence, and notes it.
func (s *server) drop(c *peerConn) {
	why := api.Errorf(api.CodeLost, "what was asked of the engine was not read for %s, and is not sent any further", s.door.slow)
	why.Hint = "ask again"
	s.log.Warn("a client does not read: its connection is cut", "user", nameOf(c.peer.UID), "process", c.peer.PID, "after", s.door.slow)
	s.mu.Lock()
	var of []*framer
	for p, out := range s.present {
		if p.peer.PID == c.peer.PID && p.peer.UID == c.peer.UID {
			of = append(of, out)
		}
	}
	s.mu.Unlock()
	for _, out := range of {
		_ = out.value(frameFailed, why)
	}
}
