package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"archetype/internal/unixsock"
	"archetype/settings"
)

// listen makes the engine's socket for its user alone, or for a group, whose
// number it returns then.
func listen(s *settings.Settings) (net.Listener, uint32, error) {
	if err := os.MkdirAll(s.Run(), 0o700); err != nil {
		return nil, 0, err
	}
	if s.Engine.Group == "" {
		if err := os.MkdirAll(filepath.Dir(s.Socket()), 0o700); err != nil {
			return nil, 0, err
		}
		l, err := unixsock.Listen(s.Socket())
		return l, 0, err
	}
	if s.Rootless {
		return nil, 0, errors.New("engine.group: only an engine of root's can be used by a group: inside the user namespace of an ordinary user's, the kernel does not tell who is a member")
	}
	g, err := user.LookupGroup(s.Engine.Group)
	if err != nil {
		return nil, 0, fmt.Errorf("engine.group: %w", err)
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return nil, 0, fmt.Errorf("engine.group: %s is number %s: %w", s.Engine.Group, g.Gid, err)
	}
	if gid == 0 {
		return nil, 0, errors.New("engine.group: the group 0 is root's own")
	}
	if err := groupFolder(filepath.Dir(s.Socket()), int(gid), s.Engine.Group); err != nil {
		return nil, 0, err
	}
	l, err := unixsock.ListenGroup(s.Socket(), int(gid))
	return l, uint32(gid), err
}

// groupFolder makes the folder of a socket for a group. One that is there
// already is looked at and left: it may be for other things, too.
func groupFolder(dir string, gid int, group string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		return errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, 0o750))
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return err
	}
	enters := st.Mode&0o001 != 0 || int(st.Gid) == gid && st.Mode&0o010 != 0
	writes := st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0
	switch {
	case !enters:
		return fmt.Errorf("engine.socket: %s does not let in the group %s: chgrp %s %s && chmod 750 %s", dir, group, group, dir, dir)
	case writes:
		return fmt.Errorf("engine.socket: others than its owner can write to %s, and put another socket in the engine's place: chmod 750 %s", dir, dir)
	}
	return nil
}
