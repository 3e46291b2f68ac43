package gate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// look finds the init that the gate shall become: a path for it to execute,
// or a code for it to end with and the reason.
func look(pid int) (code byte, text string) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return codeFailed, err.Error()
	}
	args := strings.Split(string(line), "\x00")
	if len(args) < 3 || args[1] == "" { // the gate, its first argument, and what is behind the last zero
		return codeNotFound, "the image has no command: give the node a cmd or an entrypoint"
	}
	name := args[1]
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return codeFailed, err.Error()
	}
	defer func() { _ = unix.Close(root) }()
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			return codeGo, name // from the working folder, which is the gate's own
		}
		if err := executable(root, name); err != nil {
			return refusal(name, err)
		}
		return codeGo, name
	}
	search := searchPath(pid)
	last := error(unix.ENOENT)
	for dir := range strings.SplitSeq(search, ":") {
		file := path.Join("/", dir, name)
		err := executable(root, file)
		if err == nil {
			return codeGo, file
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			last = err
		}
	}
	return refusal(fmt.Sprintf("%s (in PATH %s)", name, search), last)
}

func refusal(what string, err error) (code byte, text string) {
	code = codeNotAllowed
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		code = codeNotFound
	}
	return code, fmt.Sprintf("cannot start %s: %v", what, err)
}

// searchPath is the variable PATH of the process.
func searchPath(pid int) string {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if rest, ok := bytes.CutPrefix(v, []byte("PATH=")); ok {
			return string(rest)
		}
	}
	return ""
}

// executable checks a file below a root that its links cannot lead out of.
func executable(root int, file string) error {
	fd, err := unix.Openat2(root, strings.TrimPrefix(file, "/"),
		&unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case st.Mode&0o111 == 0:
		return unix.EACCES
	}
	return nil
}
