// Package sim is a machine that is not there: a provider and two networks
// that keep their nodes and links in memory, for tests of the engine under
// every fault, for load tests and for demonstrations.
//
// What a World does is decided by its Gate, through which each call of an
// engine passes: one that lets everything through at once (nil), one that
// takes as long as a small machine would (Paced), or a simulation's, which
// holds every call until a seed says when and how it ends. Nothing here makes
// a process, an interface or a packet, and whatever is shown of it says that
// it is simulated.
package sim
