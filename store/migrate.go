package store

import (
	bolt "go.etcd.io/bbolt"
)

// migrations bring a file forward, each from the schema of its place, counted
// from 1, to the next. All of them happen in one transaction: a file is of
// one schema or of another. Each is tested from a file that its schema wrote.
var migrations = []func(*bolt.Tx) error{
	oneKeyForALink,
	indexed,
	summed,
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
	t := &Tx{tx: tx}
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

// indexed: up to schema 2 there were no indexes.
func indexed(tx *bolt.Tx) error {
	if err := tx.DeleteBucket(bucketIndex); err != nil {
		return err
	}
	if _, err := tx.CreateBucket(bucketIndex); err != nil {
		return err
	}
	t := &Tx{tx: tx}
	return t.entries(func(_, k []byte) error { return t.reindex(nil, [][]byte{k}) })
}

// summed: up to schema 3 there was no sum over the records.
func summed(tx *bolt.Tx) error {
	sum, err := readAll(tx)
	if err != nil {
		return err
	}
	return putSum(tx, sum)
}

// entries goes over every entry that the records should have in an index,
// with the record's own key.
func (t *Tx) entries(f func(record, k []byte) error) error {
	all := func(name []byte, of func(k, v []byte) ([][]byte, error)) error {
		return t.bucket(name).ForEach(func(k, v []byte) error {
			entries, err := of(k, v)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := f(k, e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for name, of := range map[string]func(k, v []byte) ([][]byte, error){
		string(bucketNodes):  entriesOf(func(_ []byte, r Node) [][]byte { return nodeEntries(r) }),
		string(bucketLinks):  entriesOf(func(_ []byte, r Link) [][]byte { return linkEntries(r) }),
		string(bucketJobs):   entriesOf(jobEntries),
		string(bucketHosts):  entriesOf(func(_ []byte, r Host) [][]byte { return hostEntries(r) }),
		string(bucketCopies): entriesOf(func(_ []byte, r ImageCopy) [][]byte { return copyEntries(r) }),
	} {
		if err := all([]byte(name), of); err != nil {
			return err
		}
	}
	return nil
}

func entriesOf[T any](of func(k []byte, r T) [][]byte) func(k, v []byte) ([][]byte, error) {
	return func(k, v []byte) ([][]byte, error) {
		var r T
		if err := decode(k, v, &r); err != nil {
			return nil, err
		}
		return of(k, r), nil
	}
}
