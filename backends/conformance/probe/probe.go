// Package probe is the device of the conformance suite: a program that runs
// as a node's own init or first process, notes which interfaces it finds at
// its first instruction, sees every frame, and does what it is asked.
package probe

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// Lines that a device says, for its log.
const (
	LineBooted = "probe: booted"               // all interfaces were there
	LineFailed = "probe: boot failed: missing" // and those that were not
	marker     = "AT-"                         // in every frame that is kept
	socket     = "\x00archetype-conformance"   // one in each network namespace
	tcpPort    = 7007                          // where it takes transfers
	maxKept    = 20000                         // frames
	maxWait    = 30 * time.Second              // for one request
)

// Request is one thing asked of a device.
type Request struct {
	Op    string        `json:"op"`
	Iface string        `json:"iface,omitempty"`
	Send  []Frame       `json:"send,omitempty"`
	Token string        `json:"token,omitempty"` // what a frame must contain
	Count int           `json:"count,omitempty"` // how many such frames to wait for
	Wait  time.Duration `json:"wait,omitempty"`
	State *bool         `json:"state,omitempty"` // carrier to wait for, or flag to set
	To    string        `json:"to,omitempty"`    // address, or next hop
	Text  string        `json:"text,omitempty"`
	Bytes int64         `json:"bytes,omitempty"`
}

// The operations.
const (
	OpInterfaces = "interfaces" // list them
	OpSend       = "send"       // frames; one that is refused does not keep back the next
	OpSeen       = "seen"       // frames with Token, waiting for Count of them
	OpCarrier    = "carrier"    // wait until Iface has the carrier State
	OpSettled    = "settled"    // wait until the system has taken note of Iface's carrier, or that it has none
	OpGone       = "gone"       // wait until Iface does not exist
	OpSet        = "set"        // Iface up or down by State
	OpAddress    = "address"    // add Text to Iface
	OpRoute      = "route"      // add one to Text by way of To
	OpRoutes     = "routes"     // list those that were added
	OpMTU        = "mtu"        // of Iface: Bytes
	OpReset      = "reset"      // Iface has no addresses, and an MTU of 1,500 bytes
	OpDelete     = "delete"     // remove Iface, behind everybody's back
	OpForeign    = "foreign"    // make a bridge named Iface
	OpTransfer   = "transfer"   // send Bytes to To over TCP
	OpPing       = "ping"       // is it the same boot?
)

// Frame is one Ethernet frame on an interface.
type Frame struct {
	Iface string `json:"iface"`
	Data  []byte `json:"data"`
}

// Interface is what a device sees of one.
type Interface struct {
	Name      string         `json:"name"`
	Index     int            `json:"index"` // the same for as long as it is not made anew
	MAC       string         `json:"mac"`
	MTU       int            `json:"mtu"`
	Up        bool           `json:"up"`
	Carrier   bool           `json:"carrier"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
}

// Reply is its answer.
type Reply struct {
	Error      string      `json:"error,omitempty"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	Frames     []Frame     `json:"frames,omitempty"`
	Routes     []string    `json:"routes,omitempty"`
	Bytes      int64       `json:"bytes,omitempty"`
	First      []string    `json:"first,omitempty"` // interfaces at the first instruction of this boot
}

// Main is the program: "node [INTERFACE…]" is the device itself, "ask" hands
// it requests, each a line of JSON, and its answers back.
func Main(args []string) int {
	switch {
	case len(args) > 0 && args[0] == "node":
		return node(args[1:])
	case len(args) == 1 && args[0] == "ask":
		return ask()
	}
	fmt.Fprintln(os.Stderr, "usage: probe node [INTERFACE…] | probe ask")
	return 2
}

// node boots only when the interfaces it wants are there at once, as a
// network operating system that counts its ports does.
func node(want []string) int {
	first, err := names()
	if err != nil {
		fmt.Println("probe:", err)
		return 1
	}
	var missing []string
	for _, w := range want {
		if !slices.Contains(first, w) {
			missing = append(missing, w)
		}
	}
	if len(missing) > 0 {
		fmt.Println(LineFailed, missing)
		return 1
	}
	term := make(chan os.Signal, 1) // the kernel does not end an init by itself
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		os.Exit(0)
	}()
	d := &device{first: first, kept: make(chan struct{})}
	fmt.Println("probe:", d.serve())
	return 1
}

func ask() int {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var req Request
		if err := in.Decode(&req); err != nil {
			return 0 // nobody asks any more
		}
		rep, err := call(req)
		if err != nil {
			rep = Reply{Error: err.Error()}
		}
		if out.Encode(rep) != nil {
			return 1
		}
	}
}
