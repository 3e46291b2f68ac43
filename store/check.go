package store

import (
	"bytes"
	"errors"
	"fmt"

	"archetype/lab"
)

// Check says everything that is wrong in the database: records that cannot be
// read, states that do not exist, references to what is not there, indexes
// that lack an entry or have one too many. The error joins one
// *ConstraintError, or one that wraps ErrCorrupt, for each.
func (t *Tx) Check() error {
	var errs []error
	say := func(err error) { errs = append(errs, err) }
	used := map[string]bool{}
	t.each(bucketLabs, say, func(k, v []byte) error {
		var r Lab
		if err := decode(k, v, &r); err != nil {
			return err
		}
		if r.Name != string(k) {
			return refuse("lab", string(k), ConstraintKey, fmt.Errorf("the record is of lab %q", r.Name))
		}
		return checkLab(r)
	})
	t.each(bucketNodes, say, func(k, v []byte) error {
		var r Node
		if err := decode(k, v, &r); err != nil {
			return err
		}
		return t.checkNode(r)
	})
	t.each(bucketLinks, say, func(k, v []byte) error {
		var r Link
		if err := decode(k, v, &r); err != nil {
			return err
		}
		for _, e := range r.inside() {
			ik := key(r.Lab, e.String())
			used[string(ik)] = true
			if user := t.bucket(bucketIfaces).Get(ik); !bytes.Equal(user, seal(ik, k)) {
				say(refuse("link", string(k), ConstraintUnique, fmt.Errorf("%s is not noted as this link's", e)))
			}
		}
		return t.checkLink(r)
	})
	t.each(bucketIfaces, say, func(k, _ []byte) error {
		if !used[string(k)] {
			return refuse("interface", string(k), ConstraintReference, errors.New("no link has it"))
		}
		return nil
	})
	t.each(bucketJobs, say, func(k, v []byte) error {
		var r Job
		if err := decode(k, v, &r); err != nil {
			return err
		}
		return checkJob(r)
	})
	t.each(bucketHosts, say, func(k, v []byte) error {
		var r Host
		if err := decode(k, v, &r); err != nil {
			return err
		}
		return checkHost(r)
	})
	t.each(bucketCopies, say, func(k, v []byte) error {
		var r ImageCopy
		if err := decode(k, v, &r); err != nil {
			return err
		}
		return t.checkCopy(r)
	})
	t.checkIndexes(say)
	return errors.Join(errs...)
}

func (t *Tx) each(name []byte, say func(error), f func(k, v []byte) error) {
	b := t.bucket(name)
	if b == nil {
		say(fmt.Errorf("%w: no bucket %q", ErrCorrupt, name))
		return
	}
	_ = b.ForEach(func(k, v []byte) error {
		if err := f(k, v); err != nil {
			say(err)
		}
		return nil
	})
}

// inside are the ends of a link that are nodes of the lab.
func (r Link) inside() []lab.Endpoint {
	if r.Outside != nil {
		return []lab.Endpoint{r.A}
	}
	return []lab.Endpoint{r.A, r.B}
}

// checkIndexes compares the indexes with what the records say they hold.
func (t *Tx) checkIndexes(say func(error)) {
	b := t.bucket(bucketIndex)
	if b == nil {
		say(fmt.Errorf("%w: no bucket %q", ErrCorrupt, bucketIndex))
		return
	}
	want := map[string]bool{}
	err := t.entries(func(record, k []byte) error {
		want[string(k)] = true
		if b.Get(k) == nil {
			say(refuse("index", string(record), ConstraintReference, fmt.Errorf("no entry %q", k)))
		}
		return nil
	})
	if err != nil {
		say(err)
		return
	}
	_ = b.ForEach(func(k, _ []byte) error {
		if !want[string(k)] {
			say(refuse("index", string(k), ConstraintReference, errors.New("an entry without a record")))
		}
		return nil
	})
}
