package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"kustospool/ingest"
	"kustospool/internal/datasync"
)

// createdTxid is the transaction in which a segment file is made; bbolt's own
// are 0 and 1.
const createdTxid = 2

// proof is what one transaction of a segment file leads to.
type proof struct {
	tally     tally
	activated bool
	stored    []byte            // the tally that the transaction wrote down
	ends      map[uint32]uint64 // each lane's last record, in it or before it
	damaged   int               // frames that do not prove themselves
}

// prove walks all that a transaction leads to. An error that matches errDamaged
// says that some of it is not what the transaction wrote. Frames that are
// damaged are no error, as long as their headers are sound.
func prove(f *os.File, size int64, m boltMeta) (*proof, error) {
	if m.high < 4 || m.high > uint64(size/m.pageSize) {
		return nil, fmt.Errorf("%w: the file has %d bytes and needs %d pages of %d", errDamaged, size, m.high, m.pageSize)
	}
	p := &proof{ends: map[uint32]uint64{}}
	walk := pageWalk{f: f, m: m, entry: p.entry}
	if err := walk.run(); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %v", errDamaged, err)
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
// An error that matches errDamaged says that the file is damaged, or that one
// of the two transactions is and nobody can tell which counts.
func settle(path string, known map[uint32]uint64, noSync bool) (undone bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	metas, err := metasOf(f)
	if err != nil {
		return false, err
	}
	newest, ok := metas.newest()
	before := metas.slot[(newest.txid+1)%2]
	if !ok || newest != metas.slot[newest.txid%2] || !before.valid {
		// A meta page is damaged, or there is none: not a matter of pages.
		return false, nil
	}
	now, nowErr := prove(f, metas.size, newest)
	if nowErr == nil && now.damaged == 0 || newest.txid <= createdTxid {
		return false, syncUnless(noSync, f)
	}
	if nowErr != nil && !errors.Is(nowErr, errDamaged) {
		return false, nowErr
	}
	then, err := prove(f, metas.size, before)
	switch {
	case err != nil || before.txid != newest.txid-1:
		return false, nowErr // nil where only frames are damaged, which cost themselves
	case nowErr == nil && now.damaged <= then.damaged:
		return false, syncUnless(noSync, f)
	}
	for lane, last := range known {
		if then.ends[lane] < last {
			return false, nowErr
		}
	}
	if err := undo(f, newest, before); err != nil {
		return false, err
	}
	return true, syncUnless(noSync, f)
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
