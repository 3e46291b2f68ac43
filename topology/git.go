package topology

import (
	"path/filepath"
	"regexp"
	"strings"
)

var gitHash = regexp.MustCompile(`^[0-9a-f]{40,64}$`)

// gitNames replaces the variables that a lab's name may have of the Git
// repository that the file is in.
func (r *reader) gitNames(name string) string {
	if !strings.Contains(name, "__git") {
		return name
	}
	branch, hash := gitHead(filepath.Dir(r.abs))
	return strings.NewReplacer("__gitBranch__", strings.ReplaceAll(branch, "/", "-"), "__gitHash__", hash).Replace(name)
}

// gitHead is a folder's branch and the first digits of its commit; none for
// what cannot be told.
func gitHead(dir string) (branch, hash string) {
	const none = "none"
	read := func(name string) string {
		data, err := readBounded(filepath.Join(dir, ".git", filepath.FromSlash(name)), 1<<20)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	head := read("HEAD")
	ref, ok := strings.CutPrefix(head, "ref: ")
	switch {
	case head == "":
		return none, none
	case !ok: // no branch is checked out
		branch, hash = "HEAD", head
	case strings.Contains(ref, ".."):
		return none, none
	default:
		branch, hash = strings.TrimPrefix(ref, "refs/heads/"), read(ref)
		if hash == "" {
			for line := range strings.Lines(read("packed-refs")) {
				if h, name, _ := strings.Cut(strings.TrimSpace(line), " "); name == ref {
					hash = h
				}
			}
		}
	}
	if !gitHash.MatchString(hash) {
		return branch, none
	}
	return branch, hash[:7]
}
