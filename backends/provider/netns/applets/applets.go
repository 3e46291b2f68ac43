// Package applets are the few network tools that a node brings along for
// machines that lack them: ip and ping, as far as topology files and a first
// look around need them.
package applets

import (
	"fmt"
	"io"
	"os"
)

// Names lists the tools.
func Names() []string { return []string{"ip", "ping"} }

// Main runs the tool of that name and returns its exit code.
func Main(name string, args []string) int {
	switch name {
	case "ip":
		return ipMain(args, os.Stdout, os.Stderr)
	case "ping":
		return pingMain(args, os.Stdout, os.Stderr)
	}
	fmt.Fprintf(os.Stderr, "no tool %s\n", name)
	return 127
}

func printf(w io.Writer, format string, a ...any) { _, _ = fmt.Fprintf(w, format, a...) }
