// Package gate holds a container's own init back until its interfaces are in
// place: a copy of this program runs first, asks over a socket, and then
// becomes that init.
package gate

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Folder is where a container finds the gate and its socket.
	Folder = "/.archetype"
	// Program is the name of the gate in its folder: this program acts as the
	// gate when it is started by that name.
	Program = "gate"
	// Socket is the name of the socket in the folder.
	Socket = "sock"

	answerGo   = "go"
	answerFail = "fail "

	// retry is how long the gate waits before it looks for its socket again,
	// doubling up to retryMax: nobody serves it while no engine runs.
	retry    = 20 * time.Millisecond
	retryMax = time.Second
)

// Main is the program of the gate: its arguments are the command line of the
// container's own init. It returns only when that cannot be started.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "archetype: the image has no command: give the node a cmd or an entrypoint")
		return 127
	}
	if err := wait(filepath.Join(Folder, Socket)); err != nil {
		fmt.Fprintln(os.Stderr, "archetype:", err)
		return 125
	}
	path, err := look(args[0], os.Getenv("PATH"))
	if err == nil {
		err = syscall.Exec(path, args, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "archetype: cannot start %s: %v\n", args[0], err)
	if errors.Is(err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

// wait returns once the provider says that the interfaces are there, or that
// they cannot be.
func wait(socket string) error {
	for pause := retry; ; pause = min(2*pause, retryMax) {
		answer, err := ask(socket)
		switch {
		case err != nil:
			time.Sleep(pause) // nobody there, or it went away: ask again
		case answer == answerGo:
			return nil
		default:
			return errors.New(strings.TrimPrefix(answer, answerFail))
		}
	}
}

func ask(socket string) (string, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// look finds a program as the container engine would: a name without a slash
// in PATH, anything else from the working folder.
func look(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	last := fs.ErrNotExist
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		file := filepath.Join(dir, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			last = err
		}
	}
	return "", fmt.Errorf("%w in PATH %s", last, path)
}

func executable(file string) error {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return syscall.EISDIR
	}
	return unix.Access(file, unix.X_OK)
}
