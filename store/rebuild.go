package store

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// rebuild makes a new ledger from what the log tells, after the old one was
// damaged or lost. The batches, their outcomes and the counters of settled
// records are gone with it: the books begin again with the records that are in
// segments. All of these are open once more and will be sent again, under new
// batch ids if the batches are cut differently, so they count as possible
// duplicates. The history and the dead letters' counters are lost; the dead
// letters themselves are files and stay.
func (r *recovery) rebuild() error {
	s := r.s
	if err := r.setLedgerAside(); err != nil {
		return err
	}
	id, ok, err := wal.Identify(s.fs, s.path(segmentsName))
	if err != nil {
		return err
	}
	if !ok {
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
	}
	s.setID(ingest.SpoolID(id))
	if err := r.startLog(wal.Known{}); err != nil {
		return err
	}
	if err := r.quarantineOrphanLanes(); err != nil {
		return err
	}
	b := &ledger.Books{Spool: s.id, Counters: ledger.Counters{Suspect: 1, Damaged: 1}}
	infos := r.inLog()
	for _, info := range infos {
		b.State.HighestNo = max(b.State.HighestNo, info.No)
	}
	for _, l := range r.log.Lanes {
		marks, err := r.rebuiltWatermarks(l, infos)
		if err != nil {
			return err
		}
		var props ingest.Properties
		if err := json.Unmarshal([]byte(l.Key), &props); err != nil {
			return fmt.Errorf("lane %d of the log: %w", l.No, err)
		}
		b.Lanes = append(b.Lanes, ledger.Lane{No: l.No, Key: l.Key, Properties: props, Watermarks: marks})
		b.Counters.PossibleDuplicates += marks.Acked(marks.High)
	}
	slices.SortFunc(b.Lanes, func(a, b ledger.Lane) int { return cmp.Compare(a.No, b.No) })
	if err := r.leap(b); err != nil {
		return err
	}
	if n := b.Counters.PossibleDuplicates; n > 0 {
		s.log.Error("the ledger was rebuilt: what waits is sent again, and may have been ingested before", "dir", s.dir, "records", n)
	}
	return r.adoptLedger(b)
}

// inLog are the segments that the log was opened with.
func (r *recovery) inLog() []wal.SegmentInfo {
	infos := slices.Clone(r.log.Rotated)
	if r.log.Active.No != 0 {
		infos = append(infos, r.log.Active)
	}
	return infos
}

// leap sees to it that what is stored from now on has other numbers than what
// was settled and given back, of which no file tells: a destination knows a
// batch by them, and would take a new one for one that it has. How far is
// drawn, since a ledger can be lost again.
func (r *recovery) leap(b *ledger.Books) error {
	var p [4]byte
	if _, err := rand.Read(p[:]); err != nil {
		return err
	}
	r.tailMissing = true
	r.ahead = skipAhead * (1 + uint64(binary.BigEndian.Uint16(p[:])))
	for _, l := range b.Lanes {
		b.State.Lanes = max(b.State.Lanes, l.No)
	}
	b.State.Lanes += min(1<<8+binary.BigEndian.Uint32(p[:])>>8, math.MaxUint32-b.State.Lanes)
	return nil
}

// setLedgerAside moves a damaged ledger to the quarantine.
func (r *recovery) setLedgerAside() error {
	s := r.s
	path := s.ledgerPath()
	if _, err := s.books().Stat(path); vfs.Missing(err) {
		return nil
	}
	if s.opts.books != "" {
		return os.Rename(path, path+".damaged")
	}
	return s.quarantine(path)
}

// rebuiltWatermarks is where a lane stands as far as segments tell. What lies
// between two of them was settled and given back, or was lost with a file;
// nobody knows, so it is in the new books as numbers without records. So are
// the holes in a segment, unless they are where damage was found.
func (r *recovery) rebuiltWatermarks(l wal.Lane, infos []wal.SegmentInfo) (m ledger.Watermarks, err error) {
	type in struct {
		span
		no uint64
	}
	var segs []in
	for _, info := range infos {
		if seqs, ok := info.Lanes[l.No]; ok {
			segs = append(segs, in{span(seqs), info.No})
		}
	}
	end := max(l.Next, 1) - 1
	if len(segs) == 0 {
		return ledger.Watermarks{Base: end, BaseBytes: l.Bytes, Sealed: end, High: end, Bytes: l.Bytes}, nil
	}
	slices.SortFunc(segs, func(a, b in) int { return cmp.Compare(a.First, b.First) })
	m.Base, m.Sealed, m.High = segs[0].First-1, segs[0].First-1, segs[0].First-1
	first := true
	for _, seg := range segs {
		if seg.First > m.High+1 {
			m.Gaps = append(m.Gaps, span{First: m.High + 1, Last: seg.First - 1})
		}
		err := r.s.wal.Scan(seg.no, l.No, seg.First, seg.Last, func(f *wal.Found) bool {
			switch {
			case f.Err == nil:
				if first {
					m.BaseBytes, first = f.Before, false
				}
				m.Bytes = f.Before + f.Bytes
			case f.Len == 0 && !r.wasLost(l.No, f.First, f.Last):
				m.Gaps = append(m.Gaps, span{First: f.First, Last: f.Last})
			}
			return true
		})
		if err != nil && !errors.Is(err, wal.ErrNoSegment) {
			return m, err
		}
		m.High = max(m.High, seg.Last)
	}
	m.Bytes = max(m.Bytes, l.Bytes)
	m.BaseBytes = min(m.BaseBytes, m.Bytes)
	return m, nil
}

// wasLost reports whether damage that was found names any of these records.
func (r *recovery) wasLost(lane uint32, first, last uint64) bool {
	for _, d := range r.log.Damage {
		for _, lost := range d.Lost {
			if lost.Lane == lane && lost.First <= last && first <= lost.Last {
				return true
			}
		}
	}
	return false
}

// copyAll copies a file from front to back.
func copyAll(w io.Writer, from vfs.File) (int64, error) {
	info, err := from.Stat()
	if err != nil {
		return 0, err
	}
	return io.Copy(w, io.NewSectionReader(from, 0, info.Size))
}
