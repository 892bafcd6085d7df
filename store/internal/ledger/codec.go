package ledger

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Rows are stored in binary: Open reads as many as the backlog is large, and
// JSON took ten times as long.

// What numbers may be at most. The log keeps to the same bounds; whatever a file
// says, none of them is near enough to the end of all numbers to lead beyond it.
const (
	maxSeq       = 1<<62 - 1 // of a record
	maxCommitNo  = 1<<62 - 1 // of a commit, and of a transaction
	maxBytes     = 1<<62 - 1
	maxCount     = 1 << 62 // of a counter
	maxSegmentNo = 1<<48 - 1
	maxLaneKey   = 64 << 10 // bytes
	maxRowLanes  = 1 << 21  // in a segment's row
)

// rowVersion is the first byte of every row's body that is not empty.
const rowVersion = 1

// errRowForm is a row whose checksum is right and which holds nonsense.
var errRowForm = errors.New("row of an impossible form")

// appendTime stores a time to the nanosecond, whatever its year, in UTC.
func appendTime(p []byte, t time.Time) []byte {
	p = binary.AppendVarint(p, t.Unix())
	return binary.AppendUvarint(p, uint64(t.Nanosecond()))
}

func appendBytes(p, b []byte) []byte {
	return append(binary.AppendUvarint(p, uint64(len(b))), b...)
}

func appendNumbers(p []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		p = binary.AppendUvarint(p, n)
	}
	return p
}

func appendBool(p []byte, b bool) []byte {
	if b {
		return append(p, 1)
	}
	return append(p, 0)
}

// rowReader reads what the functions above wrote. After the first error it
// gives zeros.
type rowReader struct {
	rest []byte
	err  error
}

// readRow starts with the version.
func readRow(body []byte) rowReader {
	d := rowReader{rest: body}
	if d.byte() != rowVersion {
		d.fail()
	}
	return d
}

func (d *rowReader) fail() { d.rest, d.err = nil, errRowForm }

func (d *rowReader) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *rowReader) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail()
	}
	return b == 1
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

func (d *rowReader) u64() uint64 { return d.number(math.MaxUint64) }
func (d *rowReader) u32() uint32 { return uint32(d.number(math.MaxUint32)) }
func (d *rowReader) i64() int64  { return int64(d.number(math.MaxInt64)) }

// count is a number of things that take at least size bytes each.
func (d *rowReader) count(size int) int {
	n := d.u64()
	if n > uint64(len(d.rest)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// span is a range that is not empty.
func (d *rowReader) span() Span {
	s := Span{d.u64(), d.u64()}
	if s.First == 0 || s.Last < s.First || s.Last > maxSeq {
		d.fail()
	}
	return s
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
	if y := t.Year(); y < 0 || y > 9999 { // JSON has no others, and so no dead letter
		d.fail()
		return time.Time{}
	}
	return t
}

// bytes gives a copy; nil for none.
func (d *rowReader) bytes() []byte {
	n := d.count(1)
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
