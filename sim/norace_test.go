//go:build !race

package sim_test

// fewSeeds is how many seeds are run where nobody says how many.
const fewSeeds = 200
