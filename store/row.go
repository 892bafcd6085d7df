package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"kustospool/ingest"
)

// The two kinds of rows of which there are as many as the backlog is large, a
// batch and a segment, are stored in binary: Open reads all of them, and JSON
// took ten times as long. All other rows are JSON, for people to read.

// compactRow is a row with a binary form.
type compactRow interface {
	appendTo(p []byte) []byte
	parse(p []byte) error
}

var (
	_ compactRow = (*batchRow)(nil)
	_ compactRow = (*segmentRow)(nil)
)

// rowVersion is the first byte of a binary row.
const rowVersion = 1

const (
	rowCommitted = 1 << iota // of a batch
	rowFailed
)

const (
	rowKeys = 1 << iota // of a segment
	rowLost
)

func (r *batchRow) appendTo(p []byte) []byte {
	flags := byte(0)
	if r.Committed {
		flags |= rowCommitted
	}
	if r.Failure != nil {
		flags |= rowFailed
	}
	p = append(p, rowVersion, flags, byte(r.Guarantee), byte(r.Confirm), byte(r.State))
	for _, n := range []uint64{r.Last, uint64(r.Raw), uint64(r.Attempts), uint64(r.Unresolved), uint64(r.Duplicates), uint64(r.Wire)} {
		p = binary.AppendUvarint(p, n)
	}
	for _, t := range []time.Time{r.SealedAt, r.Next, r.Updated} {
		p = appendTime(p, t)
	}
	p = appendBytes(p, r.Progress)
	if r.Failure != nil {
		failure, err := json.Marshal(r.Failure)
		if err != nil {
			panic("store: a failure that cannot be stored: " + err.Error()) // plain strings and numbers
		}
		p = appendBytes(p, failure)
	}
	return p
}

func (r *batchRow) parse(p []byte) error {
	d := rowReader{rest: p}
	d.version()
	flags := d.byte()
	*r = batchRow{Guarantee: ingest.Guarantee(d.byte()), Confirm: ingest.Confirm(d.byte()), State: ingest.State(d.byte()), Committed: flags&rowCommitted != 0}
	r.Last = d.number(math.MaxUint64)
	r.Raw = int64(d.number(math.MaxInt64))
	r.Attempts, r.Unresolved = int(d.number(math.MaxInt32)), int(d.number(math.MaxInt32))
	r.Duplicates, r.Wire = int64(d.number(math.MaxInt64)), int64(d.number(math.MaxInt64))
	r.SealedAt, r.Next, r.Updated = d.time(), d.time(), d.time()
	r.Progress = d.bytes()
	if flags&rowFailed != 0 {
		if failure := d.bytes(); d.err == nil {
			r.Failure = new(ingest.Failure)
			d.err = json.Unmarshal(failure, r.Failure)
		}
	}
	return d.end()
}

func (r *segmentRow) appendTo(p []byte) []byte {
	flags := byte(0)
	if r.Keys {
		flags |= rowKeys
	}
	if r.Lost {
		flags |= rowLost
	}
	p = append(p, rowVersion, flags)
	p = binary.AppendUvarint(p, uint64(r.Size))
	p = binary.AppendUvarint(p, r.Txid)
	p = binary.AppendUvarint(p, uint64(len(r.Lanes)))
	for _, lane := range slices.Sorted(maps.Keys(r.Lanes)) {
		p = binary.AppendUvarint(p, uint64(lane))
		p = binary.AppendUvarint(p, r.Lanes[lane].First)
		p = binary.AppendUvarint(p, r.Lanes[lane].Last)
	}
	return p
}

func (r *segmentRow) parse(p []byte) error {
	d := rowReader{rest: p}
	d.version()
	flags := d.byte()
	*r = segmentRow{Keys: flags&rowKeys != 0, Lost: flags&rowLost != 0}
	r.Size, r.Txid = int64(d.number(math.MaxInt64)), d.number(math.MaxUint64)
	n := d.number(uint64(len(d.rest))) // a lane takes more than a byte
	r.Lanes = make(map[uint32]span, n)
	for range n {
		lane := uint32(d.number(math.MaxUint32))
		s := span{d.number(math.MaxUint64), d.number(math.MaxUint64)}
		if s.First == 0 || s.Last < s.First {
			return errRowForm
		}
		r.Lanes[lane] = s
	}
	return d.end()
}

// appendTime stores a time to the nanosecond, whatever its year, in UTC.
func appendTime(p []byte, t time.Time) []byte {
	p = binary.AppendVarint(p, t.Unix())
	return binary.AppendUvarint(p, uint64(t.Nanosecond()))
}

func appendBytes(p, b []byte) []byte {
	return append(binary.AppendUvarint(p, uint64(len(b))), b...)
}

var errRowForm = errors.New("row of an impossible form")

// rowReader reads what the functions above wrote. After the first error it
// gives zeros.
type rowReader struct {
	rest []byte
	err  error
}

func (d *rowReader) fail() { d.rest, d.err = nil, errRowForm }

func (d *rowReader) version() {
	if d.byte() != rowVersion {
		d.fail()
	}
}

func (d *rowReader) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *rowReader) number(most uint64) uint64 {
	n, w := binary.Uvarint(d.rest)
	if w <= 0 || n > most {
		d.fail()
		return 0
	}
	d.rest = d.rest[w:]
	return n
}

func (d *rowReader) time() time.Time {
	sec, w := binary.Varint(d.rest)
	if w <= 0 {
		d.fail()
		return time.Time{}
	}
	d.rest = d.rest[w:]
	t := time.Unix(sec, int64(d.number(999_999_999))).UTC()
	if d.err != nil || t.IsZero() {
		return time.Time{}
	}
	return t
}

// bytes gives a copy; nil for none.
func (d *rowReader) bytes() []byte {
	n := d.number(math.MaxInt32)
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return append([]byte(nil), b...)
}

func (d *rowReader) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail()
	}
	return d.err
}
