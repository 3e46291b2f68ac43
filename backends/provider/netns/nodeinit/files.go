package nodeinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func (v *view) files() error {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if !strings.Contains(v.cfg.Hosts, "\t"+v.cfg.Hostname+"\n") {
		hosts += "127.0.1.1\t" + v.cfg.Hostname + "\n"
	}
	files := map[string]string{"/etc/hosts": hosts + v.cfg.Hosts, "/etc/hostname": v.cfg.Hostname + "\n"}
	for name, text := range v.cfg.Files {
		files[name] = text
	}
	var there []string
	for _, dir := range v.cfg.Folders {
		if _, err := os.Stat(dir); err == nil {
			there = append(there, dir)
		} else if err := v.folder(dir); err != nil {
			return err
		}
	}
	for _, dir := range there { // later: the above may cover what is above them
		if err := v.own(dir); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := v.file(name, text); err != nil {
			return err
		}
	}
	return v.groups()
}

// folder makes a folder that is not there. A rootless node cannot make one in
// a folder of the machine whose owner it does not have: that one is overlaid,
// for the overlay's root is the node's own.
func (v *view) folder(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil || !v.cfg.Rootless {
		return err
	}
	above := filepath.Dir(dir)
	for {
		if _, serr := os.Stat(above); serr == nil {
			break
		}
		above = filepath.Dir(above)
	}
	return v.take(above, err, func() error { return os.MkdirAll(dir, 0o755) })
}

// take overlays a folder in which something has failed, and tries it again.
func (v *view) take(dir string, err error, again func() error) error {
	if !v.cfg.Rootless || dir == "/" || slices.Contains(v.writable, dir) {
		return err
	}
	if oerr := v.overlay(dir); oerr != nil {
		return errors.Join(err, oerr)
	}
	v.writable = append(v.writable, dir)
	return again()
}

func (v *view) file(name, text string) error {
	if err := v.folder(filepath.Dir(name)); err != nil {
		return err
	}
	write := func() error {
		_ = os.Remove(name) // it may be a link to somewhere read-only
		return os.WriteFile(name, []byte(text), 0o644)
	}
	if err := write(); err != nil {
		return v.take(filepath.Dir(name), err, write)
	}
	return nil
}

// own covers a folder of the machine's with an empty one of the node's own:
// it may belong to a user that a rootless node lacks.
func (v *view) own(dir string) error {
	own := filepath.Join(v.cfg.Folder, "fs", "own", dir)
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	v.writable = append(v.writable, dir)
	return mount(own, dir, "", unix.MS_BIND, "")
}

// groups puts root into the groups that daemons insist on, with root's own
// number: a rootless node has no other.
func (v *view) groups() error {
	if len(v.cfg.Groups) == 0 {
		return nil
	}
	data, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		name, _, _ := strings.Cut(line, ":")
		drop := false
		for _, g := range v.cfg.Groups {
			drop = drop || g == name
		}
		if !drop {
			b.WriteString(line + "\n")
		}
	}
	for _, g := range v.cfg.Groups {
		b.WriteString(g + ":x:0:root\n")
	}
	return v.file("/etc/group", b.String())
}

func (v *view) bind(m Mount, source *os.File) error {
	if source == nil {
		if err := v.folder(m.Target); err != nil {
			return err
		}
		v.writable = append(v.writable, m.Target)
		return mount("tmpfs", m.Target, "tmpfs", 0, "mode=755")
	}
	st, err := source.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Stat(m.Target); err != nil {
		if st.IsDir() {
			err = v.folder(m.Target)
		} else {
			err = v.file(m.Target, "")
		}
		if err != nil {
			return fmt.Errorf("bind: %s cannot be made in the node (use a path below /root, /mnt, /opt, /srv, /etc or /var): %w", m.Target, err)
		}
	}
	if err := mount(path(source), m.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !m.ReadOnly {
		v.writable = append(v.writable, m.Target)
	}
	return nil
}
