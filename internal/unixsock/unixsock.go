// Package unixsock listens on and dials unix sockets whose paths may be longer
// than the kernel's limit of 107 bytes.
package unixsock

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

const maxPath = 107

// short returns a path the kernel takes for a socket, and a function to call
// once the path is no longer needed.
func short(path string) (string, func(), error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { _ = dir.Close() }, nil
}

// Listen makes a socket that only the user can connect to. A file of that
// name is replaced: whoever calls has made sure that nobody serves it.
func Listen(path string) (*net.UnixListener, error) { return listen(path, 0o600, -1) }

// ListenGroup makes a socket that the members of a group can connect to, too.
func ListenGroup(path string, gid int) (*net.UnixListener, error) { return listen(path, 0o660, gid) }

func listen(path string, mode os.FileMode, gid int) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("something is in the socket's place: %w", err)
	}
	p, done, err := short(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the short path may mean another file by then
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (*net.UnixConn, error) {
	p, done, err := short(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", p)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
