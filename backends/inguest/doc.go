// Package inguest tests under another kernel what the machine's own may lack:
// impairments by netem, the kernel datapath of Open vSwitch, dummy interfaces.
package inguest
