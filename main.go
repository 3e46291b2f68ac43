// Archetype is a terminal workstation for network labs.
package main

import (
	"os"
	"path/filepath"
	"slices"

	"archetype/backends/provider/netns/applets"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/cli"
)

func main() {
	// In a node, it goes by the names of tools that the machine may lack.
	if name := filepath.Base(os.Args[0]); slices.Contains(applets.Names(), name) {
		os.Exit(applets.Main(name, os.Args[1:]))
	}
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
