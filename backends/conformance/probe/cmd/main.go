// Command cmd is the conformance suite's device: see package probe.
package main

import (
	"os"

	"archetype/backends/conformance/probe"
)

func main() { os.Exit(probe.Main(os.Args[1:])) }
