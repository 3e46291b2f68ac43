package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"archetype/internal/ownfile"
	"archetype/internal/replace"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"
)

// schema is the version of the records' form. Raised when an older program
// could misread what this one writes.
const schema = 4

// withSum is the first schema with a sum over the records.
const withSum = 4

const lockTimeout = 500 * time.Millisecond

var (
	bucketMeta   = []byte("meta")
	bucketLabs   = []byte("labs")
	bucketNodes  = []byte("nodes")      // lab, node
	bucketLinks  = []byte("links")      // lab, a, b
	bucketIfaces = []byte("interfaces") // lab, endpoint → the link's key
	bucketJobs   = []byte("jobs")       // time of creation, id
	bucketJobIDs = []byte("job ids")    // id → the job's key
	bucketEvents = []byte("events")     // sequence number
	bucketHosts  = []byte("hosts")
	bucketCopies = []byte("image copies") // image, host
	bucketIndex  = []byte("indexes")      // see index.go
	keySchema    = []byte("schema")
)

// Options change how a store works. The zero value is the safe one.
type Options struct {
	// NoSync leaves writing to the disk to the kernel: faster, and a crash of
	// the machine may lose or damage the file.
	NoSync bool
	// KeepJobs and KeepEvents are how much history is kept; 0: the usual.
	KeepJobs, KeepEvents int
	// scratch: it is a copy, of which nothing is kept before it is brought forward.
	scratch bool
	// Fault, where not nil, is asked before each transaction that writes
	// ("begin") and before it is kept ("commit"): an error stands for what a
	// disk that is full or broken would say. For simulations.
	Fault func(point string) error
	// Lost, where not nil, is told once when the file turns out to be damaged or
	// away while it is in use. Nothing can be read or stored from then on.
	Lost func(error)
	// anew: there is to be a new one, whatever is beside it.
	anew bool
}

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	path string
	db   *bolt.DB
	file *os.File
	is   os.FileInfo // which file it is

	writing sync.Mutex
	using   sync.RWMutex // which file it is
	lost    atomic.Pointer[error]
	stuck   bool // by a damage, in the middle of a write
	onLost  func(error)

	// How much history is kept.
	keepJobs, keepEvents int
	fault                func(point string) error

	touched, moved, writes atomic.Int64

	notices []string
	before  string // backup of the file before it was brought to this schema
}

// Notices says what was wrong with the file and did not keep it from being
// opened, and what was done to it.
func (s *Store) Notices() []string {
	if s.before == "" {
		return s.notices
	}
	return append(s.notices[:len(s.notices):len(s.notices)], "the store was brought to a newer form; as it was before, it is kept as "+s.before)
}

// Writes is how often something was stored since the store was opened.
func (s *Store) Writes() int64 { return s.writes.Load() }

// Open opens the database at path or makes a new one, with folders that only
// the user can enter. Errors are ErrLocked, ErrNewer, ErrCorrupt or those of
// the file system; the file is untouched then.
func Open(path string, opt Options) (s *Store, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// To open what is no file may wait for ever, or do what the device does; a
	// link may lead to what is somebody else's.
	if err := ownfile.Check(path); err != nil {
		return nil, err
	}
	if emptied(path) {
		return nil, fmt.Errorf("%w: %s is empty", ErrCorrupt, path)
	}
	if !opt.anew && gone(path) {
		return nil, fmt.Errorf("%w: %s is gone, and there are backups of it", ErrCorrupt, path)
	}
	// A page beyond the end of a file cut short is a fault of memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, file, err := openFile(path, bolt.Options{NoSync: opt.NoSync})
	if err != nil {
		return nil, unopened(path, err)
	}
	s = &Store{path: path, db: db, file: file, onLost: opt.Lost, fault: opt.Fault, keepJobs: cmp.Or(opt.KeepJobs, KeepJobs), keepEvents: cmp.Or(opt.KeepEvents, KeepEvents)}
	if err := s.prepare(path, file, opt.scratch); err != nil {
		_ = db.Close()
		release(file)
		return nil, err
	}
	if !opt.scratch {
		replace.Sweep(path)
	}
	return s, nil
}

// unopened is what it says of a file that bbolt does not open.
func unopened(path string, err error) error {
	var pe *os.PathError
	var no syscall.Errno
	switch {
	case errors.Is(err, bolterr.ErrTimeout):
		return fmt.Errorf("%w: %s", ErrLocked, path)
	case errors.As(err, &pe), errors.Is(err, ErrCorrupt):
		return err
	case errors.As(err, &no): // the machine is short of something
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
}

// gone reports whether there is no file where backups say that there was one.
func gone(path string) bool {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return false
	}
	return len(backupsOf(path)) > 0
}

// emptied reports whether there is a file with nothing in it, which nobody is
// making just now.
func emptied(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Size() == 0
}

// release lets go of a file that bbolt gave up on half-way: its mapping of the
// file may be left and would keep the lock.
func release(file *os.File) {
	if file != nil {
		_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
		_ = file.Close()
	}
}

// prepare checks the whole file before anything relies on it, then makes
// what a new one lacks.
func (s *Store) prepare(path string, file *os.File, scratch bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = broken(path, r)
		}
	}()
	var from uint64
	if headDamaged(file, s.db.Info().PageSize) {
		s.notices = append(s.notices, "a part of the head of "+path+" was damaged: it was read as it was before its last change, which may be missing")
	}
	if err := checkPages(file, s.db.Info().PageSize, true); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	err = s.db.View(func(tx *bolt.Tx) (err error) {
		from, err = records(tx, path)
		return err
	})
	if err == nil {
		s.is, err = file.Stat()
	}
	if err != nil {
		return err
	}
	if from < schema && !scratch {
		if s.before, err = s.backupBefore(path, from); err != nil {
			return fmt.Errorf("%s is of schema %d and was left as it is: it could not be backed up: %w", path, from, err)
		}
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		isNew := tx.Bucket(bucketMeta) == nil
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		if err := migrate(tx, from); err != nil {
			return fmt.Errorf("%s could not be brought from schema %d to %d: %w", path, from, schema, err)
		}
		if isNew {
			if err := putSum(tx, 0); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, seal(keySchema, number(schema)))
	})
}

// buckets are all of them, those first that every schema has.
var (
	buckets = [][]byte{bucketMeta, bucketLabs, bucketNodes, bucketLinks, bucketIfaces, bucketJobs, bucketJobIDs, bucketEvents,
		bucketHosts, bucketCopies, bucketIndex}
	always = buckets[:8]
)

// known says which bucket there should not be, or should be: one whose name has
// a bit turned would be taken for none at all.
func known(tx *bolt.Tx) error {
	for _, b := range always {
		if tx.Bucket(b) == nil {
			return fmt.Errorf("no bucket %q", b)
		}
	}
	return tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
		if !slices.ContainsFunc(buckets, func(b []byte) bool { return bytes.Equal(b, name) }) {
			return fmt.Errorf("a bucket %q", name)
		}
		return nil
	})
}

// records reads every record and says what schema they are of.
func records(tx *bolt.Tx, path string) (from uint64, err error) {
	sum, err := readAll(tx)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	m := tx.Bucket(bucketMeta)
	if m == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return 0, fmt.Errorf("%w: %s: no schema version", ErrCorrupt, path)
		}
		return schema, nil // a new file has nothing to be brought forward
	}
	v := m.Get(keySchema)
	if len(v) != sealSize+8 {
		return 0, fmt.Errorf("%w: %s: no schema version", ErrCorrupt, path)
	}
	if from = binary.BigEndian.Uint64(v[sealSize:]); from > schema {
		return 0, fmt.Errorf("%w: %s has schema %d, this program knows %d", ErrNewer, path, from, schema)
	}
	if from < 1 {
		return 0, fmt.Errorf("%w: %s: schema %d", ErrCorrupt, path, from)
	}
	if err := known(tx); err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	if from >= withSum {
		if is, err := storedSum(tx); err != nil || is != sum {
			return 0, fmt.Errorf("%w: %s: records are missing or are of an earlier time", ErrCorrupt, path)
		}
	}
	return from, nil
}

// Update runs fn in a transaction that is kept whole or not at all: with an
// error of fn, nothing of it is stored.
func (s *Store) Update(fn func(*Tx) error) error {
	if s.fault != nil {
		if err := s.fault("begin"); err != nil {
			return err
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.guarded(func() error {
		if err := s.db.Update(func(tx *bolt.Tx) error { return s.write(tx, fn) }); err != nil {
			return err
		}
		return s.inPlace()
	})
}

func (s *Store) write(tx *bolt.Tx, fn func(*Tx) error) error {
	t := &Tx{tx: tx, keepJobs: s.keepJobs, keepEvents: s.keepEvents}
	err := fn(t)
	s.touched.Add(int64(t.touched))
	if err == nil {
		err = t.refused
	}
	if err == nil {
		err = t.keepSum()
	}
	if err == nil && s.fault != nil {
		err = s.fault("commit")
	}
	if err == nil {
		s.moved.Add(int64(t.moved))
		s.writes.Add(1)
	}
	return err
}

// Transitions is how many nodes and links were stored in another state than
// before, since the store was opened.
func (s *Store) Transitions() int64 { return s.moved.Load() }

// Touched is how many keys were read or written since the store was opened.
func (s *Store) Touched() int64 { return s.touched.Load() }

// View runs fn over one consistent state.
func (s *Store) View(fn func(*Tx) error) error {
	return s.guarded(func() error {
		s.using.RLock()
		defer s.using.RUnlock()
		return s.db.View(func(tx *bolt.Tx) error {
			t := &Tx{tx: tx}
			err := fn(t)
			s.touched.Add(int64(t.touched))
			return err
		})
	})
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
