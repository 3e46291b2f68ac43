package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"archetype/lab"
)

// How much history is kept, unless something else is asked for.
const (
	KeepJobs   = 500
	KeepEvents = 5000
)

// trimSlack is how far above its bound a history may grow, so that not every
// write pays for a deletion.
const trimSlack = 256

// PutJob stores a job. Its verb and state must exist and its state must be
// one step from the stored one.
func (t *Tx) PutJob(r Job) (err error) {
	defer t.whole(&err)
	if err := checkJob(r); err != nil {
		return err
	}
	jobs := t.bucket(bucketJobs)
	k, known, err := t.jobKey(r)
	if err != nil {
		return err
	}
	var had [][]byte
	t.touch(3)
	if known {
		old, ok, err := get[Job](jobs, k)
		if err != nil {
			return err
		}
		if ok {
			if old.Lab != r.Lab || old.Verb != r.Verb || !old.Created.Equal(r.Created) {
				return refuse("job", r.ID, ConstraintUnique, fmt.Errorf("a job has it already: %s of lab %q", old.Verb, old.Lab))
			}
			if err := old.State.CheckTransition(r.State); err != nil {
				return refuse("job", r.ID, ConstraintTransition, err)
			}
			had = jobEntries(k, old)
		}
	}
	if err := t.reindex(had, jobEntries(k, r)); err != nil {
		return err
	}
	if err := put(jobs, k, r); err != nil {
		return err
	}
	return t.trimJobs()
}

// checkJob says what a job cannot be, whatever was stored before.
func checkJob(r Job) error {
	if err := checkKey("job", r.ID); err != nil {
		return err
	}
	if !r.Verb.Valid() {
		return refuse("job", r.ID, ConstraintValue, &lab.InvalidStateError{What: "job verb", State: string(r.Verb)})
	}
	if !r.State.Valid() {
		return refuse("job", r.ID, ConstraintValue, &lab.InvalidStateError{What: "job", State: string(r.State)})
	}
	if r.Done < 0 || r.Total < 0 {
		return refuse("job", r.ID, ConstraintValue, fmt.Errorf("progress %d of %d", r.Done, r.Total))
	}
	return nil
}

// jobKey returns the key under which a job is stored, made now if it is new.
func (t *Tx) jobKey(r Job) (k []byte, known bool, err error) {
	ids, id := t.bucket(bucketJobIDs), []byte(r.ID)
	if v := ids.Get(id); v != nil {
		k, err = unseal(id, v)
		return slices.Clone(k), true, err
	}
	// In the order in which they came, also where the clock was set back in
	// between: a newer one is neither forgotten before an older one nor hidden by it.
	at := uint64(max(r.Created.UnixNano(), 0))
	if last, _ := t.bucket(bucketJobs).Cursor().Last(); len(last) >= 8 {
		at = max(at, binary.BigEndian.Uint64(last)+1)
	}
	k = append(number(at), r.ID...)
	return k, false, ids.Put(id, seal(id, k))
}

// trimJobs forgets the oldest jobs that have ended.
func (t *Tx) trimJobs() error {
	jobs, ids := t.bucket(bucketJobs), t.bucket(bucketJobIDs)
	n := ids.Inspect().KeyN
	if n <= t.keepJobs+trimSlack {
		return nil
	}
	var old []Job
	var keys [][]byte
	c := jobs.Cursor()
	for k, data := c.First(); k != nil && len(old) < n-t.keepJobs; k, data = c.Next() {
		var j Job
		if err := decode(k, data, &j); err != nil {
			return err
		}
		if j.State.Ended() {
			old, keys = append(old, j), append(keys, slices.Clone(k))
		}
	}
	for i, j := range old {
		if err := t.reindex(jobEntries(keys[i], j), nil); err != nil {
			return err
		}
		if err := jobs.Delete(keys[i]); err != nil {
			return err
		}
		if err := ids.Delete([]byte(j.ID)); err != nil {
			return err
		}
	}
	return nil
}

// Jobs returns the newest jobs, at most limit, oldest first.
func (t *Tx) Jobs(limit int) ([]Job, error) {
	return newest[Job](t.bucket(bucketJobs), limit)
}

// AppendEvent stores an event under the next sequence number, which it returns.
func (t *Tx) AppendEvent(r Event) (_ uint64, err error) {
	defer t.whole(&err)
	b := t.bucket(bucketEvents)
	seq, err := b.NextSequence()
	if err != nil {
		return 0, err
	}
	r.Seq = seq
	if err := put(b, number(seq), r); err != nil {
		return 0, err
	}
	if seq%trimSlack == 0 {
		return seq, t.TrimEvents(t.keepEvents)
	}
	return seq, nil
}

// Events returns the newest events, at most limit, oldest first.
func (t *Tx) Events(limit int) ([]Event, error) {
	return newest[Event](t.bucket(bucketEvents), limit)
}

// TrimEvents forgets all but the newest keep events.
func (t *Tx) TrimEvents(keep int) error {
	b := t.bucket(bucketEvents)
	last := b.Sequence()
	if last <= uint64(max(keep, 0)) {
		return nil
	}
	end := number(last - uint64(max(keep, 0)))
	c := b.Cursor()
	for k, _ := c.First(); k != nil && string(k) <= string(end); k, _ = c.First() {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func newest[T any](b *bucket, limit int) ([]T, error) {
	var out []T
	c := b.Cursor()
	for k, data := c.Last(); k != nil && len(out) < limit; k, data = c.Prev() {
		var v T
		if err := decode(k, data, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.Reverse(out)
	return out, nil
}
