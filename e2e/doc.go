// Package e2e holds the tests of the program as its users meet it: the real
// binary, in folders of its own, as root, as an ordinary user, and as root
// without root's rights.
package e2e
