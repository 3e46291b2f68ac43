package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"archetype/lab"
)

// Tx is one transaction. It is only valid within the function it was given to.
type Tx struct {
	tx      *bolt.Tx
	touched int
	moved   int    // records that are in another state than before
	sum     uint64 // what it adds to the sum over the records
	refused error  // the first write that was
	// How much history is kept.
	keepJobs, keepEvents int
}

// whole notes a write that was refused: nothing of the transaction is kept
// then, also where who writes makes nothing of the error.
func (t *Tx) whole(err *error) {
	if t.refused == nil {
		t.refused = *err
	}
}

// touch counts keys that are read or written.
func (t *Tx) touch(n int) { t.touched += n }

const separator = "\x00"

func key(parts ...string) []byte { return []byte(strings.Join(parts, separator)) }

// prefix is what the keys of everything below parts begin with.
func prefix(parts ...string) []byte { return append(key(parts...), 0) }

func refuse(record, key, constraint string, err error) error {
	return &ConstraintError{Record: record, Key: strings.ReplaceAll(key, separator, "/"),
		Constraint: constraint, Err: err}
}

func checkKey(record string, parts ...string) error {
	for _, p := range parts {
		switch {
		case p == "":
			return refuse(record, strings.Join(parts, "/"), ConstraintKey, errors.New("a name is empty"))
		case strings.Contains(p, separator) || len(p) > 512:
			return refuse(record, strings.Join(parts, "/"), ConstraintKey, errors.New("a name cannot be a key"))
		}
	}
	return nil
}

func get[T any](b *bucket, k []byte) (v T, ok bool, err error) {
	data := b.Get(k)
	if data == nil {
		return v, false, nil
	}
	if err := decode(k, data, &v); err != nil {
		return v, false, err
	}
	return v, true, nil
}

func put(b *bucket, k []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(k, seal(k, data))
}

func list[T any](b *bucket, pre []byte) ([]T, error) {
	var out []T
	c := b.Cursor()
	for k, data := c.Seek(pre); k != nil && bytes.HasPrefix(k, pre); k, data = c.Next() {
		var v T
		if err := decode(k, data, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func drop(b *bucket, pre []byte) error {
	c := b.Cursor()
	for k, _ := c.Seek(pre); k != nil && bytes.HasPrefix(k, pre); k, _ = c.Seek(pre) {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) labs() *bucket  { return t.bucket(bucketLabs) }
func (t *Tx) nodes() *bucket { return t.bucket(bucketNodes) }
func (t *Tx) links() *bucket { return t.bucket(bucketLinks) }

// PutLab stores a lab, new or changed.
func (t *Tx) PutLab(r Lab) (err error) {
	defer t.whole(&err)
	if err := checkLab(r); err != nil {
		return err
	}
	return put(t.labs(), key(r.Name), r)
}

// checkLab says what a lab cannot be.
func checkLab(r Lab) error {
	if err := checkKey("lab", r.Name); err != nil {
		return err
	}
	if r.Policy != "" && !r.Policy.Valid() {
		return refuse("lab", r.Name, ConstraintValue, &lab.InvalidStateError{What: "policy", State: string(r.Policy)})
	}
	return nil
}

// Lab returns one lab; ok is false when there is none of that name.
func (t *Tx) Lab(name string) (r Lab, ok bool, err error) {
	return get[Lab](t.labs(), key(name))
}

// Labs returns all labs by name.
func (t *Tx) Labs() ([]Lab, error) { return list[Lab](t.labs(), nil) }

// DeleteLab removes a lab with its nodes and links. Jobs and events stay:
// they are history.
func (t *Tx) DeleteLab(name string) (err error) {
	defer t.whole(&err)
	pre := prefix(name)
	for _, index := range []string{NodesByActual, NodesByDesired, LinksByActual} {
		if err := drop(t.bucket(bucketIndex), prefix(index, name)); err != nil {
			return err
		}
	}
	for _, b := range [][]byte{bucketNodes, bucketLinks, bucketIfaces} {
		if err := drop(t.bucket(b), pre); err != nil {
			return err
		}
	}
	return t.labs().Delete(key(name))
}

// PutNode stores a node. Its states must exist, its lab must be stored, and
// its actual state must be one step from the stored one.
func (t *Tx) PutNode(r Node) (err error) {
	defer t.whole(&err)
	if err := t.checkNode(r); err != nil {
		return err
	}
	old, ok, err := get[Node](t.nodes(), key(r.Lab, r.Name))
	if err != nil {
		return err
	}
	var had [][]byte
	if ok {
		if err := old.Actual.CheckTransition(r.Actual); err != nil {
			return refuse("node", r.Lab+"/"+r.Name, ConstraintTransition, err)
		}
		if old.Actual != r.Actual {
			t.moved++
		}
		had = nodeEntries(old)
	}
	if err := t.reindex(had, nodeEntries(r)); err != nil {
		return err
	}
	t.touch(2)
	return put(t.nodes(), key(r.Lab, r.Name), r)
}

// checkNode says what a node cannot be, whatever was stored before.
func (t *Tx) checkNode(r Node) error {
	id := r.Lab + "/" + r.Name
	if err := checkKey("node", r.Lab, r.Name); err != nil {
		return err
	}
	if !r.Actual.Valid() {
		return refuse("node", id, ConstraintValue, &lab.InvalidStateError{What: "node", State: string(r.Actual)})
	}
	if !r.Desired.Valid() {
		return refuse("node", id, ConstraintValue, &lab.InvalidStateError{What: "desired node", State: string(r.Desired)})
	}
	if r.Progress < 0 || r.Progress > 100 {
		return refuse("node", id, ConstraintValue, fmt.Errorf("progress %d is not a per cent", r.Progress))
	}
	if t.labs().Get(key(r.Lab)) == nil {
		return refuse("node", id, ConstraintReference, fmt.Errorf("no lab %q", r.Lab))
	}
	return nil
}

// Node returns one node; ok is false when there is none of that name.
func (t *Tx) Node(labName, name string) (r Node, ok bool, err error) {
	t.touch(1)
	return get[Node](t.nodes(), key(labName, name))
}

// Nodes returns a lab's nodes by name.
func (t *Tx) Nodes(labName string) ([]Node, error) {
	out, err := list[Node](t.nodes(), prefix(labName))
	t.touch(len(out))
	return out, err
}

// DeleteNode removes a node that no link uses any more.
func (t *Tx) DeleteNode(labName, name string) (err error) {
	defer t.whole(&err)
	pre := key(labName, name+":")
	if k, _ := t.bucket(bucketIfaces).Cursor().Seek(pre); bytes.HasPrefix(k, pre) {
		return refuse("node", labName+"/"+name, ConstraintReference,
			fmt.Errorf("a link still uses %s", k[len(prefix(labName)):]))
	}
	r, ok, err := t.Node(labName, name)
	if err != nil || !ok {
		return err
	}
	if err := t.reindex(nodeEntries(r), nil); err != nil {
		return err
	}
	return t.nodes().Delete(key(labName, name))
}

// PutLink stores a link. Its states must exist, its nodes must be stored,
// its actual state must be one step from the stored one, and no other link
// may use its interfaces.
func (t *Tx) PutLink(r Link) (err error) {
	defer t.whole(&err)
	if err := t.checkLink(r); err != nil {
		return err
	}
	id, k := r.id(), linkKey(r.Lab, r.A, r.B)
	ifaces := t.bucket(bucketIfaces)
	for _, e := range r.inside() {
		ik := key(r.Lab, e.String())
		if user := ifaces.Get(ik); user != nil && !bytes.Equal(user, seal(ik, k)) {
			return refuse("link", id, ConstraintUnique, fmt.Errorf("%s is used by another link", e))
		}
	}
	old, ok, err := get[Link](t.links(), k)
	if err != nil {
		return err
	}
	var had [][]byte
	if ok {
		if err := old.Actual.CheckTransition(r.Actual); err != nil {
			return refuse("link", id, ConstraintTransition, err)
		}
		if old.Actual != r.Actual {
			t.moved++
		}
		had = linkEntries(old)
	}
	if err := t.reindex(had, linkEntries(r)); err != nil {
		return err
	}
	t.touch(4)
	for _, e := range r.inside() {
		ik := key(r.Lab, e.String())
		if err := ifaces.Put(ik, seal(ik, k)); err != nil {
			return err
		}
	}
	return put(t.links(), k, r)
}

// linkKey is the same whichever way round a link is written.
func linkKey(labName string, a, b lab.Endpoint) []byte {
	x, y := a.String(), b.String()
	if y < x {
		x, y = y, x
	}
	return key(labName, x, y)
}

func (r Link) id() string { return r.Lab + "/" + r.A.String() + "/" + r.B.String() }

// checkLink says what a link cannot be, whatever was stored before.
func (t *Tx) checkLink(r Link) error {
	id := r.id()
	if err := checkKey("link", r.Lab, r.A.Node, r.A.Interface, r.B.Node, r.B.Interface); err != nil {
		return err
	}
	if r.A == r.B {
		return refuse("link", id, ConstraintUnique, errors.New("both ends are the same interface"))
	}
	if !r.Actual.Valid() {
		return refuse("link", id, ConstraintValue, &lab.InvalidStateError{What: "link", State: string(r.Actual)})
	}
	if !r.Desired.Valid() {
		return refuse("link", id, ConstraintValue, &lab.InvalidStateError{What: "desired link", State: string(r.Desired)})
	}
	for _, e := range r.inside() {
		if t.nodes().Get(key(r.Lab, e.Node)) == nil {
			return refuse("link", id, ConstraintReference, fmt.Errorf("no node %q in lab %q", e.Node, r.Lab))
		}
	}
	return nil
}

// Links returns a lab's links, by their ends.
func (t *Tx) Links(labName string) ([]Link, error) {
	out, err := list[Link](t.links(), prefix(labName))
	t.touch(len(out))
	return out, err
}

// DeleteLink removes a link.
func (t *Tx) DeleteLink(labName string, a, b lab.Endpoint) (err error) {
	defer t.whole(&err)
	k := linkKey(labName, a, b)
	if t.links().Get(k) == nil {
		return nil
	}
	r, _, err := get[Link](t.links(), k)
	if err != nil {
		return err
	}
	if err := t.reindex(linkEntries(r), nil); err != nil {
		return err
	}
	for _, e := range r.inside() {
		if err := t.bucket(bucketIfaces).Delete(key(labName, e.String())); err != nil {
			return err
		}
	}
	return t.links().Delete(k)
}
