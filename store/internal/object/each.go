package object

import (
	"errors"

	"kustospool/internal/vfs"
)

// Each calls fn for the records from..last of an object, counted from 0, in
// order, until fn returns false. The data is without a separator and valid during
// the call; of a record that is divided over chunks it is the beginning, limit
// bytes or one chunk more, and cut says whether that is less than all. All chunks
// of such a record are proven first. What cannot be read is a [DamageError], behind
// which another call can go on; a file that cannot be opened for another reason than its absence
// or kind is the error of the file system.
func (d *Dir) Each(o *Ref, from, last uint64, limit int, fn func(n uint64, data []byte, cut bool) bool) error {
	last = min(last, o.Records-1)
	damaged := func(first, to uint64, cause error) error {
		return &DamageError{ID: o.ID, First: max(first, from), Last: to, Err: cause}
	}
	w, err := d.open(o, Pos{}, from)
	if vfs.Missing(err) || errors.Is(err, vfs.ErrNotRegular) {
		return damaged(0, o.Records-1, err)
	}
	if err != nil {
		return err
	}
	defer w.f.Close()
	var block, record []byte
	cut, more := false, true
	for more && from <= last {
		if err := w.next(); err != nil {
			return damaged(min(w.at.first, from), o.Records-1, notEOF(err))
		}
		h := &w.header
		if h.flags&chunkPart != 0 && h.first >= from || h.flags&chunkPart == 0 && h.last() >= from {
			if block, err = w.body(block[:0]); err != nil {
				to := h.first
				if h.flags&chunkPart == 0 {
					to = h.last()
				}
				return damaged(h.first, to, err)
			}
		}
		switch {
		case h.flags&chunkPart != 0 && h.first >= from:
			if len(record) < limit {
				record = append(record, block...)
			} else {
				cut = cut || len(block) > 0
			}
			if h.flags&chunkMore == 0 {
				more = fn(h.first, record, cut)
				from, record, cut = h.first+1, record[:0], false
			}
		case h.flags&chunkPart == 0 && h.last() >= from:
			err := h.each(block, func(n uint64, data []byte) bool {
				if n >= from && n <= last {
					more = fn(n, data, false)
				}
				return more && n < last
			})
			if err != nil {
				return damaged(h.first, h.last(), err)
			}
			from = h.last() + 1
		}
		w.skip()
	}
	return nil
}
