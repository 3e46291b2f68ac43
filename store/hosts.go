package store

import (
	"fmt"
	"time"

	"archetype/lab"
)

// Host is a machine that carries nodes.
type Host struct {
	Name    string        `json:"name"`
	Address string        `json:"address,omitempty"`
	Status  lab.HostState `json:"status"`
	Since   time.Time     `json:"since,omitzero"`
	Error   string        `json:"error,omitempty"`
}

// ImageCopy is what is known of an image on a host.
type ImageCopy struct {
	Image  string         `json:"image"`
	Host   string         `json:"host"`
	Status lab.ImageState `json:"status"`
	Since  time.Time      `json:"since,omitzero"`
	Error  string         `json:"error,omitempty"`
}

// PutHost stores a host. Its status must exist and be one step from the
// stored one.
func (t *Tx) PutHost(r Host) (err error) {
	defer t.whole(&err)
	if err := checkHost(r); err != nil {
		return err
	}
	old, ok, err := t.Host(r.Name)
	if err != nil {
		return err
	}
	var had [][]byte
	if ok {
		if r.Status != old.Status && !old.Status.CanTransition(r.Status) {
			return refuse("host", r.Name, ConstraintTransition, &lab.TransitionError{What: "host", From: string(old.Status), To: string(r.Status)})
		}
		had = hostEntries(old)
	}
	if err := t.reindex(had, hostEntries(r)); err != nil {
		return err
	}
	return put(t.bucket(bucketHosts), key(r.Name), r)
}

func checkHost(r Host) error {
	if err := checkKey("host", r.Name); err != nil {
		return err
	}
	if !r.Status.Valid() {
		return refuse("host", r.Name, ConstraintValue, &lab.InvalidStateError{What: "host", State: string(r.Status)})
	}
	return nil
}

// Host returns one host; ok is false when there is none of that name.
func (t *Tx) Host(name string) (r Host, ok bool, err error) {
	t.touch(1)
	return get[Host](t.bucket(bucketHosts), key(name))
}

// DeleteHost removes a host of which no image is known any more.
func (t *Tx) DeleteHost(name string) (err error) {
	defer t.whole(&err)
	r, ok, err := t.Host(name)
	if err != nil || !ok {
		return err
	}
	copies, err := list[ImageCopy](t.bucket(bucketCopies), nil)
	if err != nil {
		return err
	}
	for _, c := range copies {
		if c.Host == name {
			return refuse("host", name, ConstraintReference, fmt.Errorf("image %q is still noted for it", c.Image))
		}
	}
	if err := t.reindex(hostEntries(r), nil); err != nil {
		return err
	}
	return t.bucket(bucketHosts).Delete(key(name))
}

// PutImageCopy stores what is known of an image on a host, which must be
// stored. Its status must exist and be one step from the stored one.
func (t *Tx) PutImageCopy(r ImageCopy) (err error) {
	defer t.whole(&err)
	if err := t.checkCopy(r); err != nil {
		return err
	}
	b, k := t.bucket(bucketCopies), key(r.Image, r.Host)
	t.touch(1)
	old, ok, err := get[ImageCopy](b, k)
	if err != nil {
		return err
	}
	var had [][]byte
	if ok {
		if r.Status != old.Status && !old.Status.CanTransition(r.Status) {
			return refuse("image copy", r.Image+"/"+r.Host, ConstraintTransition,
				&lab.TransitionError{What: "image", From: string(old.Status), To: string(r.Status)})
		}
		had = copyEntries(old)
	}
	if err := t.reindex(had, copyEntries(r)); err != nil {
		return err
	}
	return put(b, k, r)
}

func (t *Tx) checkCopy(r ImageCopy) error {
	id := r.Image + "/" + r.Host
	if err := checkKey("image copy", r.Image, r.Host); err != nil {
		return err
	}
	if !r.Status.Valid() {
		return refuse("image copy", id, ConstraintValue, &lab.InvalidStateError{What: "image", State: string(r.Status)})
	}
	if t.bucket(bucketHosts).Get(key(r.Host)) == nil {
		return refuse("image copy", id, ConstraintReference, fmt.Errorf("no host %q", r.Host))
	}
	return nil
}

// DeleteImageCopy forgets an image on a host.
func (t *Tx) DeleteImageCopy(image, host string) (err error) {
	defer t.whole(&err)
	b, k := t.bucket(bucketCopies), key(image, host)
	r, ok, err := get[ImageCopy](b, k)
	if err != nil || !ok {
		return err
	}
	if err := t.reindex(copyEntries(r), nil); err != nil {
		return err
	}
	return b.Delete(k)
}
