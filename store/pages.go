package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// bbolt trusts its file: a damaged page makes it panic, in a goroutine of its
// own even, or skip what is on it. So the file's pages are looked through here
// first, by what https://github.com/etcd-io/bbolt says of their form.

const (
	pageHeader  = 16         // bytes before what a page holds
	element     = 16         // bytes of an entry at a page's begin
	headSummed  = 56         // bytes of a head that are summed up
	headMagic   = 0xED0CDAED // of bbolt
	headVersion = 2

	branchPage = 0x01
	leafPage   = 0x02
	freePage   = 0x10 // lists pages that are free

	noFreelist = 1<<64 - 1
	bucketLeaf = 0x01 // an entry that is a bucket
)

var native = binary.NativeEndian

// head is one of the two that a file begins with. They are written in turn,
// and the newer one that is good counts.
type head struct {
	size                  int // bytes in a page
	root, freelist, pages uint64
	change                uint64
}

// readHead returns nil for one that is bad.
func readHead(file *os.File, at int64) *head {
	b := make([]byte, headSummed+8)
	if _, err := file.ReadAt(b, at+pageHeader); err != nil {
		return nil
	}
	h := fnv.New64a()
	_, _ = h.Write(b[:headSummed])
	if native.Uint32(b) != headMagic || native.Uint32(b[4:]) != headVersion || native.Uint64(b[headSummed:]) != h.Sum64() {
		return nil
	}
	return &head{size: int(native.Uint32(b[8:])), root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		pages: native.Uint64(b[40:]), change: native.Uint64(b[48:])}
}

// headDamaged reports whether one of the two heads is bad: then the file may
// be that of a change before the last, which bbolt does not say.
func headDamaged(file *os.File, pageSize int) bool {
	return readHead(file, 0) == nil || readHead(file, int64(pageSize)) == nil
}

// walk is one look through a file's pages.
type walk struct {
	file *os.File
	head *head
	seen map[uint64]bool
}

// checkPages says what is wrong with the pages: one that is not what leads to
// it says it is, that is used twice, or used and free; keys out of order; or
// an end that is cut off.
func checkPages(file *os.File, pageSize int, free bool) error {
	w := &walk{file: file, seen: map[uint64]bool{}}
	for _, h := range []*head{readHead(file, 0), readHead(file, int64(pageSize))} {
		if h != nil && h.size == pageSize && (w.head == nil || h.change > w.head.change) {
			w.head = h
		}
	}
	if w.head == nil {
		return errors.New("no good head")
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if uint64(st.Size())/uint64(pageSize) < w.head.pages {
		return fmt.Errorf("it is cut short: %d pages, and %d bytes", w.head.pages, st.Size())
	}
	if err := w.tree(w.head.root, nil, nil); err != nil || !free || w.head.freelist == noFreelist {
		return err
	}
	return w.free()
}

// page reads a page with those that belong to it.
func (w *walk) page(id uint64) (sort uint16, count int, b []byte, err error) {
	if id < 2 || id >= w.head.pages {
		return 0, 0, nil, fmt.Errorf("page %d does not exist", id)
	}
	hd := make([]byte, pageHeader)
	if _, err := w.file.ReadAt(hd, int64(id)*int64(w.head.size)); err != nil {
		return 0, 0, nil, err
	}
	more := uint64(native.Uint32(hd[12:]))
	if native.Uint64(hd) != id || more >= w.head.pages-id {
		return 0, 0, nil, fmt.Errorf("page %d is damaged", id)
	}
	for i := id; i <= id+more; i++ {
		if w.seen[i] {
			return 0, 0, nil, fmt.Errorf("page %d is used twice", i)
		}
		w.seen[i] = true
	}
	b = make([]byte, (1+more)*uint64(w.head.size))
	_, err = w.file.ReadAt(b, int64(id)*int64(w.head.size))
	return native.Uint16(hd[8:]), int(native.Uint16(hd[10:])), b, err
}

// tree looks through a page and all below it, whose keys are from low to
// before high.
func (w *walk) tree(id uint64, low, high []byte) error {
	sort, count, b, err := w.page(id)
	if err != nil {
		return err
	}
	switch sort {
	case leafPage:
		return w.leaf(id, count, b, low, high)
	case branchPage:
	default:
		return fmt.Errorf("page %d is of sort %#x", id, sort)
	}
	keys, below := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := pageHeader + i*element
		if at+element > len(b) {
			return fmt.Errorf("page %d has %d entries", id, count)
		}
		if keys[i], err = part(b, at, uint64(native.Uint32(b[at:])), uint64(native.Uint32(b[at+4:]))); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		below[i] = native.Uint64(b[at+8:])
	}
	if count == 0 {
		return fmt.Errorf("page %d has no entries", id)
	}
	for i := range count {
		end := high
		if i+1 < count {
			end = keys[i+1]
		}
		if err := ordered(id, keys[i], low, end); err != nil {
			return err
		}
		if err := w.tree(below[i], keys[i], end); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) leaf(id uint64, count int, b, low, high []byte) error {
	var last []byte
	for i := range count {
		at := pageHeader + i*element
		if at+element > len(b) {
			return fmt.Errorf("page %d has %d entries", id, count)
		}
		from, k, v := uint64(native.Uint32(b[at+4:])), uint64(native.Uint32(b[at+8:])), uint64(native.Uint32(b[at+12:]))
		name, err := part(b, at, from, k)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		value, err := part(b, at, from+k, v)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if err := ordered(id, name, low, high); err != nil {
			return err
		}
		if last != nil && bytes.Compare(name, last) <= 0 {
			return fmt.Errorf("page %d: keys are out of order", id)
		}
		last = name
		if native.Uint32(b[at:])&bucketLeaf == 0 {
			continue
		}
		if len(value) < pageHeader {
			return fmt.Errorf("page %d: a bucket of %d bytes", id, len(value))
		}
		if root := native.Uint64(value); root != 0 {
			err = w.tree(root, nil, nil)
		} else if inline := value[pageHeader:]; len(inline) < pageHeader || native.Uint16(inline[8:]) != leafPage {
			err = fmt.Errorf("page %d: a damaged bucket", id)
		} else {
			err = w.leaf(id, int(native.Uint16(inline[10:])), inline, nil, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// free compares the list of free pages with those that were met.
func (w *walk) free() error {
	sort, count, b, err := w.page(w.head.freelist)
	if err != nil {
		return err
	}
	if sort != freePage {
		return fmt.Errorf("page %d is of sort %#x", w.head.freelist, sort)
	}
	ids := b[pageHeader:]
	n := uint64(count)
	if count == 0xFFFF { // more than fit: the first is their number
		n, ids = native.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return fmt.Errorf("%d free pages", n)
	}
	for i := range n {
		id := native.Uint64(ids[8*i:])
		if id < 2 || id >= w.head.pages || w.seen[id] {
			return fmt.Errorf("page %d is free, and is used or does not exist", id)
		}
		w.seen[id] = true
	}
	if met := uint64(len(w.seen)); met != w.head.pages-2 {
		return fmt.Errorf("%d pages are neither used nor free", w.head.pages-2-met)
	}
	return nil
}

// part is a piece of a page that an entry leads to.
func part(b []byte, at int, from, n uint64) ([]byte, error) {
	begin := uint64(at) + from
	if begin > uint64(len(b)) || n > uint64(len(b))-begin {
		return nil, errors.New("an entry leads out of it")
	}
	return b[begin : begin+n], nil
}

func ordered(id uint64, k, low, high []byte) error {
	if bytes.Compare(k, low) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
		return fmt.Errorf("page %d: keys are out of order", id)
	}
	return nil
}
