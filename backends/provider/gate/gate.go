// Package gate holds a container's own init back until its interfaces are in
// place: a program of one page runs first, asks over a socket, and then
// becomes that init.
package gate

import "time"

const (
	// Folder is where a container finds the gate and its socket.
	Folder = "/.archetype"
	// Program is the name of the gate in its folder. Its arguments are the
	// command line of the container's own init.
	Program = "gate"
	// Socket is the name of the socket in the folder.
	Socket = "sock"

	// retry is how long the gate waits before it looks for its socket again:
	// nobody serves it while no engine runs.
	retry = 100 * time.Millisecond
)

// Codes with which a container ends whose init could not be started, as
// container engines have them.
const (
	codeGo         = 0 // not an end: the path of the init follows
	codeFailed     = 125
	codeNotAllowed = 126
	codeNotFound   = 127
)
