package store

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"

	"kustospool/ingest"
)

// rebuild makes a new manifest from what the segments tell, after the old one
// was damaged or lost. The batches, their outcomes and the counters of
// settled records are gone with it: the books begin again with the records
// that are in segment files. All of these are open once more and will be sent
// again, under new batch ids if the batches are cut differently, so they
// count as possible duplicates. The history and the dead letters' counters
// are lost; the dead letters themselves are files and stay.
func (r *recovery) rebuild() error {
	s := r.s
	if _, err := os.Stat(s.manifest.path); err == nil {
		if _, err := quarantine(s.dir, s.manifest.path); err != nil {
			return err
		}
	}
	surveys, damaged, err := r.surveyAll()
	if err != nil {
		return err
	}
	id := ingest.SpoolID{}
	if len(surveys) > 0 {
		id = surveys[len(surveys)-1].spool
	} else if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	keys := map[uint32]string{}
	var kept []*survey
	for _, sv := range surveys {
		if sv.spool != id {
			damaged = append(damaged, sv.no)
			continue
		}
		kept = append(kept, sv)
		for lane, snap := range sv.snaps {
			keys[lane] = snap.Key
		}
	}
	salvaged, err := r.salvageAll(id, damaged, keys)
	if err != nil {
		return err
	}
	return r.writeRebuilt(id, keys, kept, salvaged)
}

// surveyAll looks at every segment file, by number; damaged ones apart.
func (r *recovery) surveyAll() (surveys []*survey, damaged []uint64, err error) {
	files := segmentFiles(r.s.dir)
	numbers := make([]uint64, 0, len(files))
	for no := range files {
		numbers = append(numbers, no)
	}
	slices.Sort(numbers)
	// Which objects are referred to is known only to the frames.
	deep := len(objectFiles(r.s.dir)) > 0
	for _, no := range numbers {
		_, err := settle(files[no], nil, r.s.opts.NoSync)
		var sv *survey
		if err == nil {
			sv, err = surveySegment(files[no], &r.s.opts, deep)
		}
		if err == nil && sv.no != no {
			err = errDamaged
		}
		if errors.Is(err, errDamaged) {
			damaged = append(damaged, no)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		surveys = append(surveys, sv)
	}
	return surveys, damaged, nil
}

// salvageAll saves what can be found in damaged segments.
func (r *recovery) salvageAll(id ingest.SpoolID, damaged []uint64, keys map[uint32]string) (saved []*survey, err error) {
	snaps := map[uint32]laneSnapshot{}
	for lane, key := range keys {
		snaps[lane] = laneSnapshot{Key: key}
	}
	for _, no := range damaged {
		r.damaged++
		r.doubt = true
		path := segmentPath(r.s.dir, no)
		survived, err := salvage(r.s.dir, path, id, no, snaps, &r.s.opts)
		if err != nil {
			return nil, err
		}
		if !survived {
			continue
		}
		sv, err := surveySegment(path, &r.s.opts, len(objectFiles(r.s.dir)) > 0)
		if err != nil {
			return nil, err
		}
		saved = append(saved, sv)
	}
	return saved, nil
}

// writeRebuilt writes the new manifest. The highest sound segment is left
// unlisted: loading then finds it, and decides whether it can stay active.
func (r *recovery) writeRebuilt(id ingest.SpoolID, keys map[uint32]string, sound, salvaged []*survey) error {
	b := newBooks()
	b.id, b.counters = id, counters{Suspect: 1, Damaged: 1}
	list := func(sv *survey) {
		row := segmentRow{Size: sv.size, Txid: sv.txid, Lanes: map[uint32]span{}, Keys: sv.hasKeys}
		for lane, ls := range sv.lanes {
			row.Lanes[lane] = ls.span
		}
		for id, object := range sv.objects {
			b.objects[id] = object
		}
		b.segments[sv.no] = row
		b.state.Rotated = max(b.state.Rotated, sv.no)
	}
	active := -1
	for i, sv := range sound {
		if sv.activated {
			active = i
		}
	}
	for i, sv := range sound {
		if sv.activated && i != active {
			list(sv)
		}
	}
	for _, sv := range salvaged {
		list(sv)
	}
	if active >= 0 && sound[active].no < b.state.Rotated {
		// A damaged one was newer, so this one had been rotated.
		list(sound[active])
	}
	if len(sound)+len(salvaged) == 0 {
		// Nothing tells which numbers were used; the identity is new as well.
		r.doubt = false
	}
	for no, key := range keys {
		l, err := newLane(no, key)
		if err != nil {
			return err
		}
		l.marks = rebuiltMarks(no, slices.Concat(sound, salvaged))
		b.lanes[no] = l
		b.state.Lanes = max(b.state.Lanes, no)
		b.counters.PossibleDuplicates += l.marks.acked()
	}
	if err := b.write(r.s.manifest.path, &r.s.opts); err != nil {
		return fmt.Errorf("rebuilding the manifest: %w", err)
	}
	return nil
}

// renew writes a manifest anew from books that could be read whole, after its
// history or keys turned out to be damaged. Both begin anew; the ledger, the
// marks and the counters are as they were.
func (r *recovery) renew(b *books) error {
	path := r.s.manifest.path
	// A link keeps the old file for inspection and leaves the name in place
	// until the new file takes it. Where there are no links the old file is
	// moved, and a crash now would mean a rebuild from the segments.
	if err := os.Link(path, quarantineName(r.s.dir, path)); err != nil {
		if _, err := quarantine(r.s.dir, path); err != nil {
			return err
		}
	}
	b.state.History = 0
	b.counters.Damaged++
	return b.write(path, &r.s.opts)
}

// rebuiltMarks is where a lane stands as far as segments tell. What lies
// between two of them was settled and given back, or was lost with a file;
// nobody knows, so it is in the new books as numbers without records.
func rebuiltMarks(no uint32, surveys []*survey) laneMarks {
	var held []laneSurvey
	var m laneMarks
	var snap laneSnapshot
	for _, sv := range surveys {
		if ls, ok := sv.lanes[no]; ok {
			held = append(held, ls)
		}
		if sn := sv.snaps[no]; sn.High > snap.High {
			snap = sn
		}
	}
	if len(held) == 0 {
		return laneMarks{Base: snap.High, Mark: snap.High, High: snap.High, Bytes: snap.Bytes, BaseBytes: snap.Bytes}
	}
	slices.SortFunc(held, func(a, b laneSurvey) int { return cmp.Compare(a.First, b.First) })
	m.Base, m.BaseBytes = held[0].First-1, held[0].before
	m.Mark = m.Base
	for i, ls := range held {
		if i > 0 && ls.First > m.High+1 {
			m.Gaps = append(m.Gaps, span{m.High + 1, ls.First - 1})
		}
		m.Gaps = append(m.Gaps, ls.holes...)
		m.High, m.Bytes = ls.Last, ls.after
	}
	if snap.High > m.High {
		m.Gaps = append(m.Gaps, span{m.High + 1, snap.High})
	}
	m.BaseBytes = min(m.BaseBytes, m.Bytes)
	return m
}
