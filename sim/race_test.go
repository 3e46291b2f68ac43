//go:build race

package sim_test

// fewSeeds is how many seeds are run where nobody says how many: the race
// detector makes each some ten times dearer.
const fewSeeds = 20
