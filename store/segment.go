package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	listed   bool // rotated, and the manifest knows
	keys     bool // holds keys that the manifest does not
	leaving  bool // its removal has begun
	repaired bool // salvaged by this process, or lost; not to be tried again
	lost     bool // the file is gone
	txid     uint64

	// Guarded by handles.mu.
	db     *bolt.DB
	refs   int
	used   uint64    // handles' clock at the last use
	broken error     // why it cannot be opened, once that is known
	floor  uint64    // the transaction that its file must have reached
	warmed time.Time // when the file was last read into the page cache
}

func segmentPath(dir string, no uint64) string {
	return filepath.Join(dir, segmentsName, fmt.Sprintf("%08d%s", no, segmentSuffix))
}

// segmentNumber reads a segment's number from its file name.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	no, err := strconv.ParseUint(digits, 10, 64)
	return no, err == nil && no > 0 && fmt.Sprintf("%08d", no) == digits
}

// segmentDB are the options of a segment opened for writing. The free list is
// written with each commit: it stays small, because nothing is deleted, and
// without it a damaged page can end the process when the file is opened.
func (o *Options) segmentDB() *bolt.Options {
	return &bolt.Options{
		Timeout: o.LockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: o.NoSync, NoGrowSync: o.NoSync, InitialMmapSize: initialMap(o.SegmentBytes + o.SegmentBytes/4 + 4<<20),
	}
}

// segmentGrowth is how much a segment file grows at a time: each growth costs
// an fsync, and what is not used of the last one is lost to the quota.
func (o *Options) segmentGrowth() int64 {
	return min(max(o.SegmentBytes/16, 16<<10), 4<<20)
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
	b, err := tx.CreateBucketIfNotExists(laneBucket(lane))
	if err != nil {
		return err
	}
	b.FillPercent = 0.95
	if len(value) < nestedFrom {
		return b.Put(u64(first), value)
	}
	nested, err := b.CreateBucket(u64(first))
	if err != nil {
		return err
	}
	return nested.Put(keyFrame, value)
}

// place is where a frame stands, or should stand.
type place struct {
	span                // as the neighbouring keys tell it, whatever the frame says
	value func() []byte // reads the frame's bytes; nil where there is no frame. Call it under guard
}

// walkFrames calls fn for the places that cover from..to, in order, until it
// returns false. Numbers before the first frame are a place without a frame.
// The whole walk runs inside a transaction and must be under guard.
func walkFrames(tx *bolt.Tx, lane uint32, from, to uint64, fn func(place) bool) {
	b := tx.Bucket(laneBucket(lane))
	if b == nil {
		fn(place{span: span{from, to}})
		return
	}
	c := b.Cursor()
	k, v := c.Seek(u64(from))
	if k == nil {
		k, v = c.Last()
	} else if binary.BigEndian.Uint64(k) > from {
		if pk, pv := c.Prev(); pk != nil {
			k, v = pk, pv
		} else {
			k, v = c.First()
		}
	}
	if k == nil {
		fn(place{span: span{from, to}})
		return
	}
	if first := binary.BigEndian.Uint64(k); first > from {
		if !fn(place{span: span{from, min(first-1, to)}}) {
			return
		}
	}
	for k != nil {
		first := binary.BigEndian.Uint64(k)
		if first > to {
			return
		}
		nk, nv := c.Next()
		p := place{span: span{first, to}}
		if nk != nil {
			p.Last = binary.BigEndian.Uint64(nk) - 1
		}
		key, value := k, v
		p.value = func() []byte {
			if value != nil {
				return value
			}
			if nested := b.Bucket(key); nested != nil {
				return nested.Get(keyFrame)
			}
			return nil
		}
		if !fn(p) {
			return
		}
		k, v = nk, nv
	}
}

// lastFrame is the highest frame key of a lane in a segment. It must be
// called under guard.
func lastFrame(tx *bolt.Tx, lane uint32) (first uint64, ok bool) {
	b := tx.Bucket(laneBucket(lane))
	if b == nil {
		return 0, false
	}
	k, _ := b.Cursor().Last()
	if len(k) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(k), true
}

// warm reads a file front to back, so that it is in the page cache. bbolt
// advises its mapping as random, and a cold one is then read page by page, at
// a tenth of the disk's speed.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for {
		if _, err := f.Read((*block)[:cap(*block)]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
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
