// Package engine holds what is wanted against what is: it keeps every lab's
// desired state, observes the actual one, and takes one legal step at a time
// from here to there.
//
// How it flows:
//
//	command ──► wish, stored ──┐
//	provider and network ──► observation ──► controller (one goroutine a lab)
//	effect ended ──► result ───┘                 │ decide: pure, per node and link
//	                                             ├──► effects (create, start, connect …) in parallel
//	                                             ├──► store (batched, in order)
//	                                             └──► hub ──► snapshots ──► watchers
//
// Everything that is decided is decided from the state at hand, never from
// what was meant to happen: a step that was lost, repeated or interrupted is
// simply decided again. The engine knows providers and networks only through
// package backends.
package engine
