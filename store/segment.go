package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// segment is one bbolt file of frames. The highest activated one is active;
// the others only lose records, until none is left and the file goes.
type segment struct {
	no   uint64
	path string

	// Guarded by Store.mu.
	lanes    map[uint32]span // the records it holds, of each lane
	live     int64           // how many of them are not settled
	rotated  bool
	listed   bool      // rotated, and the manifest knows
	keys     bool      // holds keys that the manifest does not
	leaving  bool      // its removal has begun
	repaired bool      // salvaged by this process, or lost; not to be tried again
	lost     bool      // the file is gone
	solid    int64     // live records when it was not worth to be written again; half of them is worth another look
	kept     int64     // records in the file, once that was asked; see compact.go
	sparse   time.Time // since when few of them are live
	txid     uint64

	// Guarded by handles.mu.
	db     *bolt.DB
	cold   *coldFile // with db, of a segment that this process did not write, or not all
	refs   int
	used   uint64 // handles' clock at the last use
	broken error  // why it cannot be opened, once that is known
	floor  uint64 // the transaction that its file must have reached
}

// segmentDigits is how many digits a segment's file name has at least.
const segmentDigits = 8

// segmentPath is made by hand: Open makes one for every segment that waits.
func segmentPath(dir string, no uint64) string {
	const zeros = "00000000"
	digits := strconv.FormatUint(no, 10)
	return dir + string(filepath.Separator) + segmentsName + string(filepath.Separator) + zeros[:max(0, segmentDigits-len(digits))] + digits + segmentSuffix
}

// segmentNumber reads a segment's number from its file name.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) < segmentDigits || len(digits) > segmentDigits && digits[0] == '0' {
		return 0, false
	}
	no, err := strconv.ParseUint(digits, 10, 64)
	return no, err == nil && no > 0
}

// activeDB are the options of the active segment. After the first commit bbolt
// syncs nothing of it: the committer does, see tally.go. The free list is
// written with each commit: it stays small, because nothing is deleted, and
// without it a damaged page can end the process when the file is opened.
func (o *Options) activeDB() *bolt.Options {
	return &bolt.Options{
		Timeout: o.LockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: o.NoSync, NoGrowSync: true, InitialMmapSize: initialMap(o.SegmentBytes + o.SegmentBytes/4 + 4<<20),
	}
}

// createSegment makes an empty segment under its final name, durable.
func createSegment(dir string, spool ingest.SpoolID, no uint64, opts *Options) (size int64, err error) {
	path := segmentPath(dir, no)
	err = createFile(path, opts, func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(bktMeta)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{bktLanes, bktKeys} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put(keyIdentity, spool[:]), meta.Put(keyVersion, u32(formatVersion)), meta.Put(keyNumber, u64(no)))
	})
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// createFile makes a bbolt file crash-safe: complete and fsynced under a
// temporary name, then renamed, then the directory fsynced. bbolt does
// neither of the last two.
func createFile(path string, opts *Options, fill func(*bolt.Tx) error) error {
	temp := path + tempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(temp, 0o600, &bolt.Options{Timeout: opts.LockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: opts.NoSync, NoGrowSync: opts.NoSync})
	if err != nil {
		return err
	}
	db.AllocSize = 64 << 10
	err = db.Update(fill)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		crashpoint.Reach("create.written")
		if opts.NoSync {
			err = os.Rename(temp, path)
		} else {
			err = renameDurably(temp, path)
		}
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// renameDurably renames and makes the new name durable.
func renameDurably(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	crashpoint.Reach("create.renamed")
	return syncDir(filepath.Dir(to))
}

// checkSegment compares the file's own word with what is expected of it.
func checkSegment(tx *bolt.Tx, spool ingest.SpoolID, no uint64) error {
	meta := tx.Bucket(bktMeta)
	if meta == nil || tx.Bucket(bktLanes) == nil || tx.Bucket(bktKeys) == nil {
		return fmt.Errorf("%w: not a segment", errDamaged)
	}
	if v := meta.Get(keyVersion); len(v) != 4 || binary.BigEndian.Uint32(v) != formatVersion {
		return fmt.Errorf("%w: segment of unknown version", errDamaged)
	}
	if !bytes.Equal(meta.Get(keyIdentity), spool[:]) {
		return fmt.Errorf("%w: segment of another spool", errDamaged)
	}
	if !bytes.Equal(meta.Get(keyNumber), u64(no)) {
		return fmt.Errorf("%w: segment of another number", errDamaged)
	}
	return nil
}

// putFrame writes a frame where it is cheapest: a large one alone in a nested
// bucket, a small one among its neighbours.
func putFrame(tx *bolt.Tx, lane uint32, first uint64, value []byte) error {
	root := tx.Cursor().Bucket()
	root.FillPercent = 0.95
	if len(value) < nestedFrom {
		return root.Put(frameKey(lane, first), value)
	}
	nested, err := root.CreateBucket(frameKey(lane, first))
	if err != nil {
		return err
	}
	return nested.Put(keyFrame, value)
}

// place is where a frame stands, or should stand.
type place struct {
	span // as the neighbouring keys tell it, whatever the frame says
	slot // its value is nil where there is no frame
}

// walkFrames calls fn for the places that cover from..to, in order, until it
// returns false. Numbers before the first frame are a place without a frame.
// tied are the lane's frames in sheaves, see sheaves.from.
// The whole walk runs inside a transaction and must be under guard.
func walkFrames(tx *bolt.Tx, lane uint32, tied frameSource, from, to uint64, fn func(place) bool) {
	next := merged(alone(tx, lane, from), tied)
	cur, ok := next()
	if !ok {
		fn(place{span: span{from, to}})
		return
	}
	if cur.first > from && !fn(place{span: span{from, min(cur.first-1, to)}}) {
		return
	}
	for ok && cur.first <= to {
		after, more := next()
		p := place{span: span{cur.first, to}, slot: cur}
		if more {
			p.Last = after.first - 1
		}
		// A source begins at its own last frame before from, which may not be
		// the lane's.
		if !(more && after.first <= from) && !fn(p) {
			return
		}
		cur, ok = after, more
	}
}

// slot is a frame as the way to it tells: its bytes are read when they are asked
// for. Its functions read pages, so they must be called under guard.
type slot struct {
	first uint64
	value func() []byte
	page  func() uint64 // the root page of the bucket that it is alone in; nil, or 0, where it is not
}

// frameSource gives the frames of a lane one after another; false at the end.
// It reads pages, so it must be under guard.
type frameSource func() (slot, bool)

// merged gives the frames of both in order.
func merged(a, b frameSource) frameSource {
	x, okX := a()
	y, okY := b()
	return func() (out slot, ok bool) {
		if okX && (!okY || x.first <= y.first) {
			out = x
			x, okX = a()
			return out, true
		}
		out, ok = y, okY
		if okY {
			y, okY = b()
		}
		return out, ok
	}
}

// alone gives the lane's frames that are in no sheaf, beginning with the last
// one that starts at or before from, if there is one.
func alone(tx *bolt.Tx, lane uint32, from uint64) frameSource {
	c := tx.Cursor()
	k, v := c.Seek(frameKey(lane, from))
	if l, first, ok := frameAt(k); !ok || l != lane || first > from {
		pk, pv := c.Prev()
		if l, _, ok := frameAt(pk); ok && l == lane {
			k, v = pk, pv
		} else {
			k, v = c.Seek(frameKey(lane, from))
		}
	}
	return func() (slot, bool) {
		l, first, ok := frameAt(k)
		if !ok || l != lane {
			return slot{}, false
		}
		key, value := k, v
		k, v = c.Next()
		if value != nil {
			return slot{first: first, value: func() []byte { return value }}, true
		}
		return slot{
			first: first,
			value: func() []byte {
				return nestedFrame(tx, tx.Bucket(key))
			},
			page: func() uint64 {
				if nested := tx.Bucket(key); nested != nil {
					return uint64(nested.Root())
				}
				return 0
			},
		}, true
	}
}

// ends are the first and the highest frame key of a lane in a segment; tied
// are all of the lane's frames in sheaves. It must be called under guard.
func ends(tx *bolt.Tx, lane uint32, tied []slot) (first, last uint64, ok bool) {
	c := tx.Cursor()
	k, _ := c.Seek(frameKey(lane, 0))
	if l, low, is := frameAt(k); is && l == lane {
		k, _ = c.Seek(frameKey(lane, math.MaxUint64))
		if l, _, is := frameAt(k); !is || l != lane {
			k, _ = c.Prev()
		}
		_, high, _ := frameAt(k)
		first, last, ok = low, high, true
	}
	if n := len(tied); n > 0 {
		low, high := tied[0].first, tied[n-1].first
		if !ok {
			return low, high, true
		}
		first, last = min(first, low), max(last, high)
	}
	return first, last, ok
}

// quarantineName is a free name for a file that is set aside.
func quarantineName(dir, path string) string {
	return filepath.Join(dir, quarantined, filepath.Base(path)+"."+time.Now().UTC().Format("20060102T150405.000000000"))
}

// quarantine moves a damaged file aside.
func quarantine(dir, path string) (to string, err error) {
	if err := os.MkdirAll(filepath.Join(dir, quarantined), 0o700); err != nil {
		return "", err
	}
	to = quarantineName(dir, path)
	if err := renameDurably(path, to); err != nil {
		return "", err
	}
	return to, syncDir(filepath.Dir(path))
}
