package store

import (
	"bytes"

	"archetype/lab"
)

// The indexes. An entry's key is the index's name, what is looked for, and
// what is left of the record's own key; it has no value.
const (
	NodesByActual   = "nodes by lab, actual"
	NodesByDesired  = "nodes by lab, desired"
	LinksByActual   = "links by lab, actual"
	JobsByStatus    = "jobs by status"
	JobsByLabStatus = "jobs by lab, status"
	HostsByStatus   = "hosts by status"
	CopiesByImage   = "image copies by image, host, status"
)

func nodeEntries(r Node) [][]byte {
	return [][]byte{key(NodesByActual, r.Lab, string(r.Actual), r.Name), key(NodesByDesired, r.Lab, string(r.Desired), r.Name)}
}

func linkEntries(r Link) [][]byte {
	k := bytes.TrimPrefix(linkKey(r.Lab, r.A, r.B), prefix(r.Lab))
	return [][]byte{append(prefix(LinksByActual, r.Lab, string(r.Actual)), k...)}
}

func jobEntries(k []byte, r Job) [][]byte {
	return [][]byte{append(prefix(JobsByStatus, string(r.State)), k...), append(prefix(JobsByLabStatus, r.Lab, string(r.State)), k...)}
}

func hostEntries(r Host) [][]byte { return [][]byte{key(HostsByStatus, string(r.Status), r.Name)} }

func copyEntries(r ImageCopy) [][]byte {
	return [][]byte{key(CopiesByImage, r.Image, r.Host, string(r.Status))}
}

// reindex replaces a record's entries by others; those that stay are left.
func (t *Tx) reindex(old, cur [][]byte) error {
	b := t.bucket(bucketIndex)
	for i, k := range old {
		if i < len(cur) && bytes.Equal(k, cur[i]) {
			continue
		}
		t.touch(1)
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	for i, k := range cur {
		if i < len(old) && bytes.Equal(k, old[i]) {
			continue
		}
		t.touch(1)
		if err := b.Put(k, seal(k, nil)); err != nil {
			return err
		}
	}
	return nil
}

// Query is a question that an index answers.
type Query[T any] struct {
	index string
	pre   []byte
	fetch func(t *Tx, rest []byte) (T, bool, error)
}

// Explained says how a query was answered.
type Explained struct {
	Index   string // the one that served it
	Keys    int    // touched: of the index and of the records
	Answers int
}

// Run answers the query, in the order of the records' keys.
func (q Query[T]) Run(t *Tx) ([]T, error) {
	out, _, err := q.explain(t)
	return out, err
}

// Explain answers the query and says how.
func (q Query[T]) Explain(t *Tx) (Explained, error) {
	_, ex, err := q.explain(t)
	return ex, err
}

func (q Query[T]) explain(t *Tx) ([]T, Explained, error) {
	ex, before := Explained{Index: q.index}, t.touched
	var out []T
	c := t.bucket(bucketIndex).Cursor()
	for k, _ := c.Seek(q.pre); k != nil && bytes.HasPrefix(k, q.pre); k, _ = c.Next() {
		t.touch(1)
		v, ok, err := q.fetch(t, k[len(q.pre):])
		if err != nil {
			return nil, ex, err
		}
		if ok {
			out = append(out, v)
		}
	}
	ex.Keys, ex.Answers = t.touched-before, len(out)
	return out, ex, nil
}

// NodesIn asks for a lab's nodes in a state.
func NodesIn(labName string, s lab.NodeState) Query[Node] {
	return Query[Node]{NodesByActual, prefix(NodesByActual, labName, string(s)), nodeOf(labName)}
}

// NodesWished asks for a lab's nodes that have a wish.
func NodesWished(labName string, w lab.NodeWish) Query[Node] {
	return Query[Node]{NodesByDesired, prefix(NodesByDesired, labName, string(w)), nodeOf(labName)}
}

func nodeOf(labName string) func(*Tx, []byte) (Node, bool, error) {
	return func(t *Tx, rest []byte) (Node, bool, error) { return t.Node(labName, string(rest)) }
}

// LinksIn asks for a lab's links in a state.
func LinksIn(labName string, s lab.LinkState) Query[Link] {
	return Query[Link]{LinksByActual, prefix(LinksByActual, labName, string(s)), func(t *Tx, rest []byte) (Link, bool, error) {
		t.touch(1)
		return get[Link](t.links(), append(prefix(labName), rest...))
	}}
}

// JobsIn asks for the jobs in a state, the oldest first; of one lab or, with
// "", of all.
func JobsIn(labName string, s lab.JobState) Query[Job] {
	q := Query[Job]{JobsByStatus, prefix(JobsByStatus, string(s)), func(t *Tx, rest []byte) (Job, bool, error) {
		t.touch(1)
		return get[Job](t.bucket(bucketJobs), rest)
	}}
	if labName != "" {
		q.index, q.pre = JobsByLabStatus, prefix(JobsByLabStatus, labName, string(s))
	}
	return q
}

// HostsIn asks for the hosts in a state.
func HostsIn(s lab.HostState) Query[Host] {
	return Query[Host]{HostsByStatus, prefix(HostsByStatus, string(s)), func(t *Tx, rest []byte) (Host, bool, error) {
		return t.Host(string(rest))
	}}
}

// CopiesOf asks for what is known of an image on a host or, with "", on all.
func CopiesOf(image, host string) Query[ImageCopy] {
	pre := prefix(CopiesByImage, image)
	if host != "" {
		pre = prefix(CopiesByImage, image, host)
	}
	return Query[ImageCopy]{CopiesByImage, pre, func(t *Tx, rest []byte) (ImageCopy, bool, error) {
		at := host
		if at == "" {
			at = string(rest[:bytes.IndexByte(rest, 0)])
		}
		t.touch(1)
		return get[ImageCopy](t.bucket(bucketCopies), key(image, at))
	}}
}
