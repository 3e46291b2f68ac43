package nodeinit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/applets"
)

// writable folders of the machine that a node sees through an overlay: it may
// change what it likes and touches nothing outside its own folder.
// Where the machine has nothing in one, the node's own takes its place.
var overlaid = []string{"/etc", "/var", "/home", "/opt", "/srv", "/mnt"}

// view builds the node's view of the file system: the machine's, read-only,
// with writable scratch of the node's own. It happens in the node's own mount
// namespace; outside nothing changes. What only a process in the node can do is
// left to its steps, because the node may have none yet.
type view struct {
	cfg      *Config
	writable []string
}

func path(fd *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", fd.Fd()) }

func open(p string) (*os.File, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount on %s: %w", target, err)
	}
	return nil
}

func (v *view) build() error {
	if err := os.MkdirAll(v.cfg.Folder, 0o700); err != nil { // nobody else gets to what the node writes
		return err
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// What is needed later may be hidden by then: hold it open.
	exe := program()
	if exe != nil {
		defer func() { _ = exe.Close() }()
	}
	sources := make([]*os.File, len(v.cfg.Mounts))
	for i, m := range v.cfg.Mounts {
		if m.Source == "" {
			continue
		}
		var err error
		if sources[i], err = open(m.Source); err != nil {
			return fmt.Errorf("bind %s: %w", m.Source, err)
		}
		defer func() { _ = sources[i].Close() }()
	}
	if err := v.scratch(); err != nil {
		return err
	}
	if err := v.kernel(); err != nil {
		return err
	}
	if err := v.binary(exe); err != nil {
		return err
	}
	if err := v.files(); err != nil {
		return err
	}
	order := make([]int, len(v.cfg.Mounts))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		return len(v.cfg.Mounts[order[a]].Target) < len(v.cfg.Mounts[order[b]].Target)
	})
	for _, i := range order {
		if err := v.bind(v.cfg.Mounts[i], sources[i]); err != nil {
			return err
		}
	}
	return v.protect()
}

// scratch puts the node's own folders over the machine's.
func (v *view) scratch() error {
	for _, dir := range overlaid {
		if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
			continue
		}
		if err := v.overlay(dir); errors.Is(err, errKeep) {
			continue
		} else if err != nil {
			return err
		}
		v.writable = append(v.writable, dir)
	}
	home := filepath.Join(v.cfg.Folder, "root")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	if err := mount(home, "/root", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	v.writable = append(v.writable, "/root")
	// A rootless node cannot change a folder of the machine's root below one
	// that is overlaid, so those for everybody are its own.
	for dir, mode := range map[string]string{"/tmp": "1777", "/var/tmp": "1777", "/run": "755", "/dev/shm": "1777"} {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			continue
		}
		if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+mode); err != nil {
			return err
		}
		v.writable = append(v.writable, dir)
	}
	return nil
}

func (v *view) overlay(dir string) error {
	base := filepath.Join(v.cfg.Folder, "fs")
	// One inside another's folder has its layers beside that one's.
	layer := strings.ReplaceAll(strings.Trim(dir, "/"), "/", "_")
	if empty(dir) { // an overlay of nothing is a folder, and costs more
		up := filepath.Join(base, "up", layer)
		if err := os.MkdirAll(up, 0o755); err != nil {
			return err
		}
		return mount(up, dir, "", unix.MS_BIND, "")
	}
	layers := func() error {
		up, work := filepath.Join(base, "up", layer), filepath.Join(base, "work", layer)
		if err := errors.Join(os.MkdirAll(up, 0o755), os.MkdirAll(work, 0o755)); err != nil {
			return err
		}
		upFD, err := open(up)
		if err != nil {
			return err
		}
		defer func() { _ = upFD.Close() }()
		workFD, err := open(work)
		if err != nil {
			return err
		}
		defer func() { _ = workFD.Close() }()
		opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, path(upFD), path(workFD))
		if v.cfg.Rootless {
			opts += ",userxattr"
		}
		// A node's scratch is not worth a flush of the disk each time the node
		// ends, which "volatile" (since Linux 5.10) does without. It leaves a
		// mark that forbids another mount, lest files were lost in a crash of
		// the machine; the node's files then are as a real host's would be.
		_ = os.RemoveAll(filepath.Join(work, "work", "incompat"))
		err = unix.Mount("overlay", dir, "overlay", 0, opts+",volatile")
		if errors.Is(err, unix.EINVAL) {
			err = unix.Mount("overlay", dir, "overlay", 0, opts)
		}
		return err
	}
	if err := layers(); err == nil {
		return nil
	}
	// The node's folder may lie on a file system that cannot take an
	// overlay's changes: keep them in memory then.
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	if err := mount("tmpfs", base, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := layers(); err == nil {
		return nil
	}
	return v.replace(dir, filepath.Join(base, "own", dir))
}

func empty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// replace puts a folder of the node's own in the place of one that cannot be
// overlaid, such as one that something else is mounted in.
func (v *view) replace(dir, own string) error {
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	switch dir {
	case "/opt": // programs may be there: as it is, then, and read-only
		return errKeep
	case "/etc":
		if err := copyTree(dir, own); err != nil {
			return fmt.Errorf("copy of %s: %w", dir, err)
		}
	case "/var":
		for _, sub := range []string{"cache", "lib", "log", "run", "spool", "tmp"} {
			if err := os.MkdirAll(filepath.Join(own, sub), 0o755); err != nil {
				return err
			}
		}
	}
	return mount(own, dir, "", unix.MS_BIND, "")
}

// errKeep says that a folder stays the machine's.
var errKeep = errors.New("kept as it is")

// copyTree copies what can be read; what is already there stays.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // not ours to read: the node does without
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if _, err := os.Lstat(target); err == nil {
			return nil
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&os.ModeSymlink != 0:
			link, err := os.Readlink(p)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			mode := os.FileMode(0o644)
			if info, err := d.Info(); err == nil {
				mode = info.Mode().Perm()
			}
			return os.WriteFile(target, data, mode)
		}
		return nil
	})
}

// kernel mounts the file systems in which the node sees itself, but for /proc.
func (v *view) kernel() error {
	if err := mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil && !v.cfg.Rootless {
		return err
	}
	if err := mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	v.writable = append(v.writable, "/dev/pts")
	if st, err := os.Lstat("/dev/ptmx"); err == nil && st.Mode()&os.ModeSymlink == 0 {
		return mount("/dev/pts/ptmx", "/dev/ptmx", "", unix.MS_BIND, "")
	}
	return nil
}

// program opens this very program as a file of the node's own mount
// namespace: what /proc/self/exe opens belongs to the holder's. It is nil
// when the file has been replaced since the holder started.
func program() *os.File {
	var run, file unix.Stat_t
	name, err := os.Readlink("/proc/self/exe")
	if err != nil || unix.Stat("/proc/self/exe", &run) != nil {
		return nil
	}
	f, err := open(name)
	if err != nil {
		return nil
	}
	if unix.Fstat(int(f.Fd()), &file) != nil || file.Dev != run.Dev || file.Ino != run.Ino {
		_ = f.Close()
		return nil
	}
	return f
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// binary makes the program available as the tools a machine may lack.
func (v *view) binary(exe *os.File) error {
	const target = "/run/archetype/archetype"
	if err := os.MkdirAll(binFolder, 0o755); err != nil {
		return err
	}
	if exe == nil {
		if err := copyFile("/proc/self/exe", target); err != nil {
			return err
		}
	} else {
		if err := os.WriteFile(target, nil, 0o755); err != nil {
			return err
		}
		if err := mount(path(exe), target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, name := range applets.Names() {
		if err := os.Symlink(target, filepath.Join(binFolder, name)); err != nil {
			return err
		}
	}
	return nil
}

// seeOnly is the view of a node that nobody has used.
func seeOnly() error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return readOnly()
}

// protect makes all that is not the node's own read-only.
func (v *view) protect() error {
	if err := readOnly(); err != nil {
		return err
	}
	for _, dir := range v.writable {
		clear := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &clear); err != nil {
			return fmt.Errorf("writable %s: %w", dir, err)
		}
	}
	return nil
}

func readOnly() error {
	set := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &set)
	for try := 0; errors.Is(err, unix.EBUSY) && try < 500; try++ {
		// Another node's process that is being started at this very moment
		// may hold a file that was just written here, until it is itself.
		time.Sleep(time.Millisecond)
		err = unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &set)
	}
	if err != nil {
		return fmt.Errorf("read-only view of the machine: %w", err)
	}
	return nil
}
