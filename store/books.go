package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// books are the manifest's contents as Open reads them: all but the history
// and the keys, which stay on disk.
type books struct {
	id       ingest.SpoolID
	state    manifestState
	counters counters
	lanes    map[uint32]*lane
	segments map[uint64]segmentRow
	entries  []*Entry
	objects  map[objectID]objectRow
}

func newBooks() *books {
	return &books{lanes: map[uint32]*lane{}, segments: map[uint64]segmentRow{}, objects: map[objectID]objectRow{}}
}

func (b *books) properties(no uint32) (ingest.Properties, bool) {
	l := b.lanes[no]
	if l == nil {
		return ingest.Properties{}, false
	}
	return l.props, true
}

// load reads everything, and takes any row that cannot be read, or that
// contradicts another, as damage of the whole manifest: rows that cannot be
// trusted would lose records, and the segments can tell them again.
func (b *books) load(tx *bolt.Tx) error {
	for _, name := range manifestBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: the manifest has no bucket %s", errDamaged, name)
		}
	}
	meta := tx.Bucket(bktMeta)
	if err := unpack(meta.Get(keyState), &b.state); err != nil {
		return fmt.Errorf("%w: state of the manifest: %v", errDamaged, err)
	}
	if err := unpack(meta.Get(keyCounters), &b.counters); err != nil {
		return fmt.Errorf("%w: counters: %v", errDamaged, err)
	}
	for _, step := range []struct {
		bucket []byte
		keyLen int
		read   func(k, v []byte) error
	}{
		{bktLanes, 4, b.readLane}, {bktMarks, 4, b.readMarks}, {bktSegments, 8, b.readSegment}, {bktBatches, 12, b.readBatch}, {bktObjects, len(objectID{}), b.readObject},
	} {
		err := tx.Bucket(step.bucket).ForEach(func(k, v []byte) error {
			if len(k) != step.keyLen {
				return fmt.Errorf("key of %d bytes", len(k))
			}
			return step.read(k, v)
		})
		if err != nil {
			return fmt.Errorf("%w: %s of the manifest: %v", errDamaged, step.bucket, err)
		}
	}
	sortEntries(b.entries)
	return b.balance()
}

func (b *books) readLane(k, v []byte) error {
	var key string
	if err := unpack(v, &key); err != nil {
		return err
	}
	no := binary.BigEndian.Uint32(k)
	l, err := newLane(no, key)
	if err != nil {
		return err
	}
	b.lanes[no] = l
	return nil
}

func (b *books) readMarks(k, v []byte) error {
	l := b.lanes[binary.BigEndian.Uint32(k)]
	if l == nil {
		return fmt.Errorf("marks of an unknown lane")
	}
	return unpack(v, &l.marks)
}

func (b *books) readSegment(k, v []byte) error {
	var row segmentRow
	if err := unpack(v, &row); err != nil {
		return err
	}
	for lane := range row.Lanes {
		if b.lanes[lane] == nil {
			return fmt.Errorf("segment with records of an unknown lane")
		}
	}
	b.segments[binary.BigEndian.Uint64(k)] = row
	return nil
}

func (b *books) readBatch(k, v []byte) error {
	e, err := decodeRow(b.id, k, v, b.properties)
	if err != nil {
		return err
	}
	if e.State.Final() || e.State == ingest.Open {
		return fmt.Errorf("batch of state %s in the ledger", e.State)
	}
	b.entries = append(b.entries, e)
	return nil
}

func (b *books) readObject(k, v []byte) error {
	var row objectRow
	if err := unpack(v, &row); err != nil {
		return err
	}
	if b.lanes[row.Lane] == nil || row.First == 0 || row.Last < row.First {
		return fmt.Errorf("object with impossible numbers")
	}
	b.objects[objectID(k)] = row
	return nil
}

// balance checks the law that Stats promises, as far as rows can break it:
// what is in batches, was settled, or is open adds up lane by lane.
func (b *books) balance() error {
	var sealed, settled int64
	for _, l := range b.lanes {
		if l.marks.Mark > l.marks.High || l.marks.Mark < l.marks.Base {
			return fmt.Errorf("%w: lane %d is sealed to %d of %d", errDamaged, l.no, l.marks.Mark, l.marks.High)
		}
		sealed += l.marks.acked() - l.marks.open()
	}
	for i, e := range b.entries {
		if e.Batch.Last > b.lanes[e.Batch.Lane].marks.Mark {
			return fmt.Errorf("%w: batch %s lies beyond what is sealed", errDamaged, e.Batch.ID)
		}
		if i > 0 && b.entries[i-1].Batch.Lane == e.Batch.Lane && b.entries[i-1].Batch.Last >= e.Batch.First {
			return fmt.Errorf("%w: batch %s overlaps its neighbour", errDamaged, e.Batch.ID)
		}
		sealed -= e.Batch.Records()
	}
	c := &b.counters
	settled = c.Ingested + c.Skipped + c.HandedOver + c.DeadLettered + c.Dropped
	if sealed != settled {
		return fmt.Errorf("%w: the books do not balance: %d records settled, %d counted", errDamaged, sealed, settled)
	}
	return nil
}

// write makes a manifest of the books, without history and keys.
func (b *books) write(path string, opts *Options) error {
	return createFile(path, opts, func(tx *bolt.Tx) error {
		for _, name := range manifestBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bktMeta)
		err := errors.Join(meta.Put(keyIdentity, b.id[:]), meta.Put(keyVersion, u32(formatVersion)),
			meta.Put(keyState, pack(&b.state)), meta.Put(keyCounters, pack(&b.counters)))
		for no, l := range b.lanes {
			err = errors.Join(err, tx.Bucket(bktLanes).Put(u32(no), pack(l.key)), tx.Bucket(bktMarks).Put(u32(no), pack(&l.marks)))
		}
		for no, row := range b.segments {
			err = errors.Join(err, tx.Bucket(bktSegments).Put(u64(no), pack(&row)))
		}
		for id, row := range b.objects {
			err = errors.Join(err, tx.Bucket(bktObjects).Put(id[:], pack(&row)))
		}
		for _, e := range b.entries {
			err = errors.Join(err, tx.Bucket(bktBatches).Put(rowKey(e.Batch.Lane, e.Batch.First), pack(rowOf(e))))
		}
		return err
	})
}

// proveRest reads what load leaves on disk, the history and the keys, so that
// damage in it is found before it is met by a change of the books.
func proveRest(tx *bolt.Tx) error {
	err := tx.Bucket(bktHistory).ForEach(func(k, v []byte) error {
		var row batchRow
		return unpack(v, &row)
	})
	for _, name := range [][]byte{bktByTime, bktKeys, bktKeyTimes} {
		err = errors.Join(err, tx.Bucket(name).ForEach(func(k, v []byte) error {
			if len(k) < 8 {
				return errors.New("key too short")
			}
			return nil
		}))
	}
	if err != nil {
		return fmt.Errorf("%w: history or keys: %v", errDamaged, err)
	}
	return nil
}
