package ovs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

// Where no place has a device for taps that may be opened, it is told why not.
func TestTapsAreLookedFor(t *testing.T) {
	missing, device := filepath.Join(t.TempDir(), "tun"), "/dev/null"
	if err := taps(missing, missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a device: %v", err)
	}
	if err := taps(missing, device); err != nil {
		t.Errorf("where the switch alone has one: %v", err)
	}
}
