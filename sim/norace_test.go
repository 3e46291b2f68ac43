//go:build !race

package sim_test

// fewSeeds is how many seeds are run where nobody says how many.
const fewSeeds = 100

// garbage is how much of it is let pile up, in per cent of what is in use: a
// seed needs little memory and makes much of it.
const garbage = 400
