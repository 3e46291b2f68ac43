package engine

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

// bootTimes remembers how long boots took, by kind, provider and machine. It
// is no part of the store: all that is lost with it are estimates.
type bootTimes struct {
	file    string // empty: it lasts as long as the engine
	machine string

	mu   sync.Mutex
	took map[string][]float64 // seconds, latest last
}

const (
	keepBoots = 5               // of a kind
	keepKinds = 500             // of which boots are kept
	worthIt   = 2 * time.Second // a shorter boot needs no estimate
)

func newBootTimes(file string) *bootTimes {
	b := &bootTimes{file: file, took: map[string][]float64{}}
	b.machine, _ = os.Hostname()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &b.took)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) || b.took == nil {
		b.took = map[string][]float64{} // it is written anew with the next boot
	}
	return b
}

func (b *bootTimes) key(n *node) string { return n.kind.Name + " " + n.provider + " " + b.machine }

// add notes that a node has booted.
func (b *bootTimes) add(n *node, took time.Duration) error {
	if n.kind == nil || took < worthIt {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.key(n)
	list := append(slices.Clone(b.took[k]), took.Seconds())
	b.took[k] = slices.Clone(list[max(0, len(list)-keepBoots):])
	for other := range b.took { // any: there are far fewer kinds than that
		if len(b.took) <= keepKinds {
			break
		}
		if other != k {
			delete(b.took, other)
		}
	}
	if b.file == "" {
		return nil
	}
	data, err := json.Marshal(b.took)
	if err != nil {
		return err
	}
	tmp := b.file + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.file)
}

// typical is the middle one of the latest boots of the node's kind here; 0
// where none is known.
func (b *bootTimes) typical(n *node) time.Duration {
	if n.kind == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.took[b.key(n)])
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return time.Duration(list[len(list)/2] * float64(time.Second)).Round(100 * time.Millisecond)
}
