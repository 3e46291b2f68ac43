package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// A file may be damaged or removed by somebody else while it is in use. bbolt
// has it in memory as the disk has it: it panics then, or the kernel faults.

// guarded runs something that reads or writes. Once the file is damaged or
// away, nothing does any more.
func (s *Store) guarded(f func() error) (err error) {
	if lost := s.lost.Load(); lost != nil {
		return *lost
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			if s.whole() {
				panic(v) // it is no fault of the file
			}
			s.stuck = true
			err = s.lose(broken(s.path, v))
		}
	}()
	if err = f(); errors.Is(err, ErrCorrupt) {
		return s.lose(err)
	}
	return err
}

// broken is what it says of a file that bbolt, or the kernel, stumbled over.
func broken(path string, over any) error {
	if _, fault := over.(runtime.Error); fault {
		over = "a part of it is not there, or is not what it should be"
	}
	return fmt.Errorf("%w: %s: %v", ErrCorrupt, path, over)
}

// lose notes that nothing can be stored any more, and tells so once.
func (s *Store) lose(err error) error {
	if s.lost.CompareAndSwap(nil, &err) && s.onLost != nil {
		s.onLost(err)
	}
	return *s.lost.Load()
}

// inPlace sees to it that the file is where the next start looks for it. One
// that was removed is written there once more, and used from then on.
func (s *Store) inPlace() error {
	path := s.path
	switch is, err := os.Stat(path); {
	case err == nil && !os.SameFile(is, s.is):
		return fmt.Errorf("%w: %s was replaced by another file while it was in use", ErrCorrupt, path)
	case !errors.Is(err, os.ErrNotExist):
		return nil
	}
	if _, err := s.Backup(path); err != nil {
		return fmt.Errorf("%w: %s was removed, and cannot be written once more: %w", ErrCorrupt, path, err)
	}
	db, file, err := openFile(path, bolt.Options{NoSync: s.db.NoSync})
	if err != nil {
		return unopened(path, err)
	}
	is, err := file.Stat()
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.using.Lock()
	defer s.using.Unlock()
	old := s.db
	s.db, s.file, s.is = db, file, is
	return old.Close()
}

// openFile opens a database, and tells which file that is: where bbolt gives up
// half-way, it is to be released.
func openFile(path string, opt bolt.Options) (db *bolt.DB, file *os.File, err error) {
	opt.Timeout, opt.FreelistType = lockTimeout, bolt.FreelistMapType
	opt.OpenFile = func(name string, flag int, perm os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, perm)
		return file, err
	}
	defer func() {
		if r := recover(); r != nil { // bbolt panics on some damaged pages
			db, err = nil, broken(path, r)
		}
		if err != nil {
			release(file)
		}
	}()
	db, err = bolt.Open(path, 0o600, &opt)
	return db, file, err
}

// whole looks at the file once more, in a copy: this one is locked.
func (s *Store) whole() bool {
	dir, err := os.MkdirTemp("", "archetype-look-")
	if err != nil {
		return false
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f, err := os.CreateTemp(dir, "")
	if err != nil {
		return false
	}
	st, err := s.file.Stat()
	if err == nil {
		_, err = io.Copy(f, io.NewSectionReader(s.file, 0, st.Size()))
	}
	return errors.Join(err, f.Close()) == nil && sound(f.Name()) == nil
}

// sound says what is wrong with a database that nobody uses, and leaves it as
// it is.
func sound(path string) error {
	return reading(path, true, func(*bolt.DB) error { return nil })
}

// reading opens a database without a change to it, checks all that is in it,
// with free also what it says of its free pages, and lends it.
func reading(path string, free bool, use func(*bolt.DB) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if emptied(path) { // which bbolt would begin to write
		return fmt.Errorf("%w: %s is empty", ErrCorrupt, path)
	}
	db, file, err := openFile(path, bolt.Options{ReadOnly: true})
	if err != nil {
		return unopened(path, err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = broken(path, r)
			release(file)
			return
		}
		err = errors.Join(err, db.Close())
	}()
	size := db.Info().PageSize
	if headDamaged(file, size) { // the last change may be missing
		return fmt.Errorf("%w: %s: a part of its head", ErrCorrupt, path)
	}
	if err := checkPages(file, size, free); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	if err := db.View(func(tx *bolt.Tx) error {
		_, err := records(tx, path)
		return err
	}); err != nil {
		return err
	}
	return use(db)
}

// Close writes what is left and lets go of the file.
func (s *Store) Close() error {
	if s.stuck { // bbolt would wait for the write that ended half-way
		release(s.file)
		return nil
	}
	if s.lost.Load() == nil {
		_ = s.inPlace() // one that was removed is there once more
	}
	return s.db.Close()
}
