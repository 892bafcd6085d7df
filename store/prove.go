package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"kustospool/ingest"
	"kustospool/internal/datasync"
)

// createdTxid is the transaction in which a segment file is made; bbolt's own
// are 0 and 1.
const createdTxid = 2

// proofMost is more than any segment file has: a commit may take one past
// MaxSegmentBytes by its own size.
const proofMost = 4 * MaxSegmentBytes

// proof is what one transaction of a segment file leads to.
type proof struct {
	tally     tally
	activated bool
	stored    []byte            // the tally that the transaction wrote down
	ends      map[uint32]uint64 // each lane's last record, in it or before it
	damaged   int               // frames that do not prove themselves
}

// prove walks all that a transaction leads to. An error matches errDamaged and
// says that some of it is not what the transaction wrote, or unreadable. Frames that are
// damaged are no error, as long as their headers are sound.
func prove(f *os.File, size int64, m boltMeta) (*proof, error) {
	if m.high < 4 || m.high > uint64(size/m.pageSize) || size > proofMost {
		return nil, fmt.Errorf("%w: the file has %d bytes and needs %d pages of %d", errDamaged, size, m.high, m.pageSize)
	}
	p := &proof{ends: map[uint32]uint64{}}
	walk := pageWalk{f: f, m: m, entry: p.entry}
	if err := walk.run(); err != nil {
		if !errors.Is(err, errDamaged) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil, err
	}
	if !p.activated {
		// It is as it was made, or what it became is lost.
		if m.txid > createdTxid {
			return nil, fmt.Errorf("%w: transaction %d of a segment that is not activated", errDamaged, m.txid)
		}
		return p, nil
	}
	stored, err := parseTally(p.stored, m.txid)
	if err == nil && stored != p.tally {
		err = fmt.Errorf("%d entries of sum %x are there, of %d of sum %x", p.tally.entries, p.tally.sum, stored.entries, stored.sum)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	return p, nil
}

// unreadable tells what the system could not read from what it read and is
// damaged: a power cut leaves the latter, so the former is never undone.
func unreadable(err error) bool {
	var pathErr *fs.PathError
	return errors.As(err, &pathErr)
}

// entry takes in what the walk meets.
func (p *proof) entry(buckets [][]byte, key, value []byte) {
	if len(buckets) == 0 {
		if string(key) == string(keyTally) {
			p.stored = append([]byte(nil), value...)
			return
		}
		p.frame(value)
		return
	}
	switch string(buckets[0]) {
	case string(bktMeta):
		p.activated = p.activated || string(key) == string(keyActivated)
	case string(bktLanes):
		p.tally.add(ofLane, key, value)
		var snap laneSnapshot
		if len(key) == 4 && unpack(value, &snap) == nil {
			lane := binary.BigEndian.Uint32(key)
			p.ends[lane] = max(p.ends[lane], snap.High)
		}
	case string(bktKeys):
		p.tally.add(ofKey, key, value)
	case string(bktSheaves):
		p.sheaf(value)
	default:
		p.frame(value)
	}
}

func (p *proof) frame(value []byte) {
	if len(value) < frameHeaderLen {
		p.damaged++
		return
	}
	p.tally.addFrame(value)
	// The header's own word for the spool: the tally has it in its sum.
	h, _, err := parseFrame(ingest.SpoolID(value[8:16]), value)
	if err != nil {
		p.damaged++
		return
	}
	p.ends[h.lane] = max(p.ends[h.lane], h.last())
}

func (p *proof) sheaf(value []byte) {
	if len(value) < sheafHeaderLen {
		p.damaged++
		return
	}
	s, err := parseSheaf(value[8:16], value)
	if err != nil {
		p.damaged++
		return
	}
	for i := range s.count {
		p.frame(s.slot(i).value())
	}
}

// settle decides after an unclean stop which transaction of a segment file
// counts, and makes that durable: the newest one, or, where a power cut has
// torn that one, the one before. See tally.go for why that is all there was.
// known is each lane's last record that is known to have been acknowledged; a
// transaction that had one of them is not undone.
//
// What it gives is the proof of the transaction that counts, nil where a meta
// page is damaged or there is none, which is not a matter of pages. An error
// that matches errDamaged says that the file is damaged, or that one of the two
// transactions is and nobody can tell which counts.
func settle(path string, known map[uint32]uint64, noSync bool) (kept *proof, undone bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	metas, err := metasOf(f)
	if err != nil {
		return nil, false, err
	}
	newest, ok := metas.newest()
	before := metas.slot[(newest.txid+1)%2]
	if !ok || newest != metas.slot[newest.txid%2] || !before.valid {
		return nil, false, nil
	}
	now, nowErr := prove(f, metas.size, newest)
	if nowErr == nil && now.damaged == 0 || newest.txid <= createdTxid {
		return now, false, syncUnless(noSync, f)
	}
	if unreadable(nowErr) {
		return nil, false, nowErr
	}
	then, err := prove(f, metas.size, before)
	switch {
	case err != nil || before.txid != newest.txid-1:
		return now, false, nowErr // nil where only frames are damaged, which cost themselves
	case nowErr == nil && now.damaged <= then.damaged:
		return now, false, syncUnless(noSync, f)
	}
	// The transaction that activates a segment has no records.
	for lane, last := range known {
		if then.activated && then.ends[lane] < last {
			return now, false, nowErr
		}
	}
	if err := undo(f, newest, before); err != nil {
		return nil, false, err
	}
	return then, true, syncUnless(noSync, f)
}

// settleNewest settles the segments that may have been written when the store
// stopped, the numbers ascending: the highest one that is activated, and those
// prepared beyond it. What is below was rotated, and all of it synced, before
// that one was activated: what is wrong there is damage, and so is what is
// below a damaged one, of which nobody knows. bad has the damaged ones; any
// other error ends it.
func settleNewest(numbers []uint64, files map[uint64]string, known map[uint32]uint64, noSync bool) (undone []string, bad map[uint64]error, err error) {
	bad = map[uint64]error{}
	for i := len(numbers) - 1; i >= 0; i-- {
		kept, back, err := settle(files[numbers[i]], known, noSync)
		if back {
			undone = append(undone, files[numbers[i]])
		}
		switch {
		case errors.Is(err, errDamaged):
			bad[numbers[i]] = err
		case err != nil:
			return undone, nil, err
		}
		if kept == nil || kept.activated {
			break
		}
	}
	return undone, bad, nil
}

// takeBack undoes the newest transaction of a file.
func takeBack(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	metas, err := metasOf(f)
	if err != nil {
		return err
	}
	newest, ok := metas.newest()
	if before := metas.slot[(newest.txid+1)%2]; ok && before.valid && before.txid == newest.txid-1 {
		return undo(f, newest, before)
	}
	return nil
}

func syncUnless(noSync bool, f *os.File) error {
	if noSync {
		return nil
	}
	return datasync.File(f)
}

// undo writes the older meta page over the newer one. What it writes is part of
// one sector, so that it is there or not.
func undo(f *os.File, newer, older boltMeta) error {
	var p [metaLen]byte
	if _, err := f.ReadAt(p[:], int64(older.txid%2)*older.pageSize+pageHeaderLen); err != nil {
		return err
	}
	_, err := f.WriteAt(p[:], int64(newer.txid%2)*newer.pageSize+pageHeaderLen)
	return err
}
