package whole_test

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"

	"archetype/internal/whole"
)

func TestInterruptedListIsAskedForAgain(t *testing.T) {
	asked := 0
	list := func(errs ...error) ([]int, error) {
		asked = 0
		return whole.List(func() ([]int, error) {
			asked++
			return []int{asked}, errs[min(asked, len(errs))-1]
		})
	}
	if got, err := list(netlink.ErrDumpInterrupted, netlink.ErrDumpInterrupted, nil); err != nil || got[0] != 3 {
		t.Errorf("after two that were interrupted: %v, %v", got, err)
	}
	other := errors.New("other")
	if _, err := list(other); !errors.Is(err, other) || asked != 1 {
		t.Errorf("another error: %v after %d", err, asked)
	}
	if _, err := list(netlink.ErrDumpInterrupted); !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Errorf("one that is always interrupted: %v", err)
	}
}
