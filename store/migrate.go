package store

import (
	bolt "go.etcd.io/bbolt"
)

// migrations bring a file forward, each from the schema of its place, counted
// from 1, to the next. All of them happen in one transaction: a file is of
// one schema or of another. Each is tested from a file that its schema wrote.
var migrations = []func(*bolt.Tx) error{
	oneKeyForALink,
}

func migrate(tx *bolt.Tx, from uint64) error {
	for ; from < schema; from++ {
		if err := migrations[from-1](tx); err != nil {
			return err
		}
	}
	return nil
}

// oneKeyForALink: up to schema 1 a link's key was made from its ends as the
// file wrote them, so that the same link written the other way round was
// refused as another one's rival.
func oneKeyForALink(tx *bolt.Tx) error {
	t := &Tx{tx}
	var all []Link
	if err := t.links().ForEach(func(k, v []byte) error {
		var r Link
		if err := decode(k, v, &r); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	}); err != nil {
		return err
	}
	for _, b := range [][]byte{bucketLinks, bucketIfaces} {
		if err := tx.DeleteBucket(b); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(b); err != nil {
			return err
		}
	}
	for _, r := range all {
		if err := t.PutLink(r); err != nil {
			return err
		}
	}
	return nil
}
