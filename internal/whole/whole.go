// Package whole asks the kernel for a list anew when what it lists has changed
// while it was told, so that entries may be missing.
package whole

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// tries are how often a list is asked for that changes all the time.
const tries = 100

// List is what list returns once it is whole.
func List[T any](list func() ([]T, error)) ([]T, error) {
	var all []T
	var err error
	for range tries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
