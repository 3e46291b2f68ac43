package engine

import (
	"strings"
	"syscall"
)

// reason is an error in words for a person, on one line.
func reason(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return advised(s)
}

// reason is an error of a node, without its name: what is said of the node begins
// with that.
func (n *node) reason(err error) string {
	return strings.ReplaceAll(reason(err), "node "+n.spec.Name+": ", "")
}

// remedies are for what a whole machine is short of, by the kernel's words: an
// error that came from another process is no more than them.
var remedies = []struct {
	what   syscall.Errno
	remedy string
}{
	{syscall.EMFILE, "give this user more open files, with ulimit -n"},
	{syscall.ENFILE, "give this machine more open files, with sysctl fs.file-max"},
	{syscall.ENOSPC, "make room on that disk"},
	{syscall.EROFS, "make that disk writable"},
}

// advised adds to an error what to do about it, where that is known.
func advised(s string) string {
	for _, r := range remedies {
		if strings.Contains(s, r.what.Error()) {
			return s + " (" + r.remedy + ")"
		}
	}
	return s
}
