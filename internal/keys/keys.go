// Package keys reads the names of control keys, as settings write them.
package keys

import (
	"fmt"
	"strings"
)

// Parse returns the byte that a terminal sends for a key such as "ctrl+]".
func Parse(name string) (byte, error) {
	rest, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "ctrl+")
	if !ok || len(rest) != 1 {
		return 0, fmt.Errorf("%q: write a key such as ctrl+]", name)
	}
	c := strings.ToUpper(rest)[0]
	if c < '@' || c > '_' || c == '[' || c == 'M' || c == 'J' || c == 'I' {
		return 0, fmt.Errorf("%q is not a key that can be told from others", name)
	}
	return c & 0x1f, nil
}
