package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"

	bolt "go.etcd.io/bbolt"
)

// The sum over all records is stored with them and follows every write. A
// record's own seal tells when it was changed; the sum tells when one is
// missing, or is one of an earlier time, as when a page of the file is cut
// short, or a pointer to it leads to another.

var (
	keySum = []byte("sum")
	ecma   = crc64.MakeTable(crc64.ECMA)
)

// weight is what a record adds to the sum.
func weight(bucket, k, v []byte) uint64 {
	c := crc64.Update(crc64.Checksum(bucket, ecma), ecma, k)
	return crc64.Update(c, ecma, v[:min(len(v), sealSize)]) // the seal stands for the rest
}

// bucket is one whose records are summed up.
type bucket struct {
	*bolt.Bucket
	name []byte
	t    *Tx
}

func (t *Tx) bucket(name []byte) *bucket {
	b := t.tx.Bucket(name)
	if b == nil {
		return nil
	}
	return &bucket{b, name, t}
}

// Put stores a record in the place of the one of that key.
func (b *bucket) Put(k, v []byte) error {
	b.forget(k)
	b.t.sum += weight(b.name, k, v)
	return b.Bucket.Put(k, v)
}

// Delete removes a record.
func (b *bucket) Delete(k []byte) error {
	b.forget(k)
	return b.Bucket.Delete(k)
}

func (b *bucket) forget(k []byte) {
	if old := b.Get(k); old != nil {
		b.t.sum -= weight(b.name, k, old)
	}
}

// keepSum stores what the transaction has added.
func (t *Tx) keepSum() error {
	if t.sum == 0 {
		return nil
	}
	was, err := storedSum(t.tx)
	if err != nil {
		return err
	}
	return putSum(t.tx, was+t.sum)
}

func putSum(tx *bolt.Tx, sum uint64) error {
	return tx.Bucket(bucketMeta).Put(keySum, seal(keySum, number(sum)))
}

func storedSum(tx *bolt.Tx) (uint64, error) {
	v, err := unseal(keySum, tx.Bucket(bucketMeta).Get(keySum))
	if err != nil || len(v) != 8 {
		return 0, fmt.Errorf("%w: no sum over the records", ErrCorrupt)
	}
	return binary.BigEndian.Uint64(v), nil
}

// readAll reads every record and returns their sum.
func readAll(tx *bolt.Tx) (sum uint64, err error) {
	err = tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		var last uint64
		if err := b.ForEach(func(k, v []byte) error {
			if _, err := unseal(k, v); err != nil {
				return err
			}
			if len(k) == 8 {
				last = binary.BigEndian.Uint64(k)
			}
			if string(name) != string(bucketMeta) {
				sum += weight(name, k, v)
			}
			return nil
		}); err != nil {
			return err
		}
		if string(name) == string(bucketEvents) && b.Sequence() < last {
			return fmt.Errorf("%w: events are counted up to %d, and there is number %d", ErrCorrupt, b.Sequence(), last)
		}
		return nil
	})
	return sum, err
}
