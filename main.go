// Archetype is a terminal workstation for network labs.
package main

import (
	"os"

	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/cli"
)

func main() {
	// The holder and the nodes' inits are this program started again.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case holder.Verb:
			os.Exit(holder.Main(os.Args[2:]))
		case holder.InitVerb:
			os.Exit(nodeinit.Main())
		}
	}
	os.Exit(cli.Main())
}
