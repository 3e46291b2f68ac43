package nsnet

import (
	"errors"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

// The kernel lets nothing else be done to interfaces while it waits, some tens
// of milliseconds, until nobody uses one that is to go. So those that are asked
// for while others are on their way out go together, with one such wait.

// leaving is the group of interfaces that are about to be removed, whoever
// asked for it. What is in it when a program ends goes with the next, or with
// its lab.
var leaving = Group("leaving")

// exits are the interfaces of a namespace that are to go.
type exits struct {
	mu   sync.Mutex
	next []exit
	busy bool // somebody sees to it
}

type exit struct {
	name string
	done chan error
}

// Delete removes the interfaces of those names; one that is gone is no error.
func (n *NS) Delete(names ...string) error {
	if len(names) == 0 {
		return nil
	}
	done := make(chan error, len(names))
	n.exits.mu.Lock()
	for _, name := range names {
		n.exits.next = append(n.exits.next, exit{name, done})
	}
	lead := !n.exits.busy
	n.exits.busy = true
	n.exits.mu.Unlock()
	if lead {
		n.leave()
		n.exits.mu.Lock()
		more := len(n.exits.next) > 0
		n.exits.busy = more
		n.exits.mu.Unlock()
		if more { // for those who came meanwhile, and wait
			go func() {
				for n.leave() {
				}
			}()
		}
	}
	var errs []error
	for range names {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// leave removes all that are to go by now. It reports false when there are
// none, and that nobody sees to them any more.
func (n *NS) leave() bool {
	n.exits.mu.Lock()
	all := n.exits.next
	n.exits.next = nil
	n.exits.busy = len(all) > 0
	n.exits.mu.Unlock()
	var several []exit
	for _, x := range all {
		l, err := n.Find(x.name)
		switch {
		case l == nil || err != nil:
		case len(all) == 1:
			err = n.LinkDel(l)
		default:
			if err = n.LinkSetGroup(l, int(leaving)); err == nil {
				several = append(several, x)
				continue
			}
		}
		x.done <- unlessGone(err)
	}
	if len(several) > 0 {
		err := n.deleteGroup(leaving)
		for _, x := range several {
			x.done <- err
		}
	}
	return len(all) > 0
}

// unlessGone is the error, unless it says that the interface is gone.
func unlessGone(err error) error {
	var missing netlink.LinkNotFoundError
	if errors.Is(err, syscall.ENODEV) || errors.As(err, &missing) {
		return nil
	}
	return err
}
