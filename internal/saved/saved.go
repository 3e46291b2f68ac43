// Package saved keeps the configurations that were read out of nodes, version
// by version, in files that only their owner reads.
package saved

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"

	"archetype/internal/bounded"
	"archetype/internal/replace"
)

const (
	// Most is how many versions of a node are kept.
	Most   = 100
	stamp  = "20060102T150405.000Z"
	suffix = ".cfg"
	limit  = 16 << 20 // of a configuration
)

// Version is one that was kept.
type Version struct {
	At   time.Time
	Path string
}

// Text is the configuration itself.
func (v Version) Text() (string, error) {
	b, err := bounded.ReadFile(v.Path, limit)
	return string(b), err
}

func folder(dir, lab, node string) string { return filepath.Join(dir, lab, node) }

// Keep keeps what a node is configured to do now. What is as it was kept last
// is not kept again: then the version is that one, and fresh false.
func Keep(dir, lab, node, text string, now time.Time) (v Version, fresh bool, err error) {
	have, err := List(dir, lab, node)
	if err != nil {
		return v, false, err
	}
	if len(have) > 0 {
		if last, err := have[0].Text(); err == nil && last == text {
			return have[0], false, nil
		}
		if !now.After(have[0].At) { // a clock that was set back: the order is what counts
			now = have[0].At.Add(time.Millisecond)
		}
	}
	at := folder(dir, lab, node)
	if err := os.MkdirAll(at, 0o700); err != nil {
		return v, false, err
	}
	v = Version{At: now.UTC().Truncate(time.Millisecond), Path: filepath.Join(at, now.UTC().Format(stamp)+suffix)}
	if err := replace.With(v.Path, []byte(text)); err != nil {
		return v, false, err
	}
	for i := Most - 1; i < len(have); i++ {
		err = errors.Join(err, os.Remove(have[i].Path))
	}
	return v, true, err
}

// List is what is kept of a node, the latest first.
func List(dir, lab, node string) ([]Version, error) {
	files, err := os.ReadDir(folder(dir, lab, node))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Version
	for _, f := range files {
		name, ours := strings.CutSuffix(f.Name(), suffix)
		at, err := time.Parse(stamp, name)
		if ours && err == nil {
			out = append(out, Version{At: at, Path: filepath.Join(folder(dir, lab, node), f.Name())})
		}
	}
	slices.SortFunc(out, func(a, b Version) int { return b.At.Compare(a.At) })
	return out, nil
}

// Diff is what differs between two texts, as lines that begin with +, - or a
// space, with @@ before each place; nothing when they are alike.
func Diff(a, b string) []string {
	text := udiff.Unified("a", "b", a, b)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 2 {
		return nil
	}
	return lines[2:]
}
