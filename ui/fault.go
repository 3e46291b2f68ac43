//go:build fault

package ui

import "os"

// fault lets a test see what a defect does to the terminal. It is in no
// build but that of the tests.
func (m *Model) fault(key string) {
	if key != "ctrl+t" {
		return
	}
	switch os.Getenv("ARCHETYPE_FAULT") {
	case "update":
		panic("provoked in the screen")
	case "beside":
		go m.guard(func() { panic("provoked beside the screen") })
	}
}
