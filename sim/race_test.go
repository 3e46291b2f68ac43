//go:build race

package sim_test

// fewSeeds is how many seeds are run where nobody says how many: the race
// detector makes each some ten times dearer.
const fewSeeds = 20

// garbage is how much of it is let pile up, in per cent of what is in use.
const garbage = 200
