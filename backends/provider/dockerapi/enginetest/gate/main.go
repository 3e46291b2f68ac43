// Gate is the gate of containers as a program of its own, for tests: a test
// binary that looks for races needs libraries that containers do not have.
package main

import (
	"os"

	"archetype/backends/provider/gate"
)

func main() { os.Exit(gate.Main(os.Args[1:])) }
