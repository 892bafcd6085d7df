package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kustospool/ingest"
)

// skipAhead is how far a lane's numbers jump when records may have been lost
// whose count nobody knows: more than fit into the largest segment and the
// objects that it refers to, so that no number is given out twice.
const skipAhead = 1 << 40

// recovery is Open's work between the lock and the goroutines. Each step is
// one row of the crash matrix in doc.go, and can be repeated.
type recovery struct {
	s       *Store
	clean   bool // the last Close finished
	shrunk  bool // the manifest was written again, or could not be
	doubt   bool // records may have been acknowledged that no file tells of
	damaged int64
	suspect int64
	broken  map[uint64]bool // unlisted segments that were found damaged

	active  *segment        // found activated and highest
	known   map[uint32]bool // lanes with a snapshot in it
	tally   tally           // of what it holds
	ends    map[uint32]laneSurvey
	listing []*segment        // rotated, not in the manifest yet
	files   map[uint64]string // the segment files there are
	sizes   map[uint64]int64  // of those listed, as the manifest knows them
	objects map[objectID]objectRow
	settled []objectID // in the manifest, and to be forgotten
}

func (s *Store) restore() error {
	r := &recovery{s: s, broken: map[uint64]bool{}, known: map[uint32]bool{}, ends: map[uint32]laneSurvey{}, sizes: map[uint64]int64{}, objects: map[objectID]objectRow{}}
	for _, sub := range []string{segmentsName, objectsName, deadName, quarantined} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	// A file is only as durable as the entries that lead to it.
	if err := syncDir(s.dir); err != nil {
		return err
	}
	if err := sweep(s.dir); err != nil {
		return err
	}
	if err := r.openManifest(); err != nil {
		return err
	}
	s.handles = newHandles(s.id, &s.opts)
	for _, step := range []func() error{
		r.listedSegments, r.newSegments, r.lostActive, r.lanesToEnd, r.countLive, r.countObjects, r.undoneDeadLetters, r.account, r.activeSegment, r.begin,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes over what the manifest says.
func (r *recovery) adopt(b *books) {
	s := r.s
	s.id, s.counters, s.manifest.state = b.id, b.counters, b.state
	r.clean = b.state.Clean
	for _, l := range b.lanes {
		s.lanes.add(l)
	}
	for _, e := range b.entries {
		s.entries[e.Batch.ID] = e
		s.lanes.get(e.Batch.Lane).putEntry(e)
	}
	r.objects = b.objects
	for no, row := range b.segments {
		r.sizes[no] = row.Size
		seg := &segment{no: no, path: segmentPath(s.dir, no), lanes: row.Lanes, rotated: true, listed: true, keys: row.Keys, txid: row.Txid, floor: row.Txid, lost: row.Lost, repaired: row.Lost}
		if seg.lanes == nil {
			seg.lanes = map[uint32]span{}
		}
		s.segments[no] = seg
	}
}

// listedSegments: a rotated segment whose file is gone is noticed now and
// counted once; its records are told as damaged when they are read. A file is
// looked at when it is first read: there are as many as the backlog is large.
func (r *recovery) listedSegments() error {
	s := r.s
	r.files = segmentFiles(s.dir)
	for _, seg := range s.segments {
		if path, ok := r.files[seg.no]; ok {
			s.disk.set(path, r.sizes[seg.no])
			continue
		}
		if seg.lost {
			continue
		}
		s.log.Error("a segment is lost", "path", seg.path)
		r.damaged++
		seg.lost, seg.repaired, seg.keys = true, true, false
		r.listing = append(r.listing, seg)
	}
	return nil
}

// newSegments: files that the manifest does not list. One that it has
// forgotten is what a crash left of a reclaim, and goes. Of the others those
// that were activated hold records: the highest is the active one, the rest
// were rotated and not listed yet. One that was not activated was prepared.
func (r *recovery) newSegments() error {
	s := r.s
	files := r.files
	s.shelf.next = s.manifest.state.Rotated + 1
	var fresh []uint64
	for no, path := range files {
		s.shelf.next = max(s.shelf.next, no+1)
		if s.segments[no] != nil {
			continue
		}
		if no <= s.manifest.state.Rotated {
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		fresh = append(fresh, no)
	}
	slices.Sort(fresh)
	var bad map[uint64]error
	if !r.clean {
		known := map[uint32]uint64{}
		for _, l := range s.lanes.sorted() {
			known[l.no] = l.marks.High
		}
		var err error
		if bad, err = r.settle(fresh, files, known); err != nil {
			return err
		}
	}
	for _, no := range fresh {
		if err := r.newSegment(no, files[no], bad[no]); err != nil {
			return err
		}
	}
	return nil
}

// newSegment enters one of them; err is the damage that is known of it.
func (r *recovery) newSegment(no uint64, path string, err error) error {
	s := r.s
	var sv *survey
	if err == nil {
		sv, err = surveySegment(path, &s.opts, !r.clean)
	}
	if err == nil && (sv.spool != s.id || sv.no != no) {
		err = fmt.Errorf("%w: segment of another spool or number", errDamaged)
	}
	st := &s.manifest.state
	if err == nil && r.clean && st.Active == no && sv.txid < st.Txid {
		err = fmt.Errorf("%w: the file is at transaction %d and was at %d", errDamaged, sv.txid, st.Txid)
	}
	switch {
	case errors.Is(err, errDamaged):
		r.damaged++
	case err != nil:
		return err
	case sv.suspect:
		// bbolt has fallen back to the transaction before. If the newest one
		// was acknowledged, its frames are still in the file.
		r.suspect++
		err = fmt.Errorf("%w: one meta page is invalid", errDamaged)
	default:
		r.damaged += sv.bad
		return r.soundSegment(no, path, sv)
	}
	s.log.Error("a segment is damaged; salvaging its frames", "path", path, "cause", err)
	r.broken[no] = true
	// A segment that was prepared and not activated has nothing to lose, but
	// that cannot be told from a damaged file.
	r.doubt = true
	snaps := map[uint32]laneSnapshot{}
	for _, l := range s.lanes.sorted() {
		snaps[l.no] = laneSnapshot{Key: l.key}
	}
	survived, err := salvage(s.dir, path, s.id, no, snaps, &s.opts)
	if err != nil || !survived {
		return err
	}
	if sv, err = surveySegment(path, &s.opts, true); err != nil {
		return err
	}
	return r.newActivated(no, path, sv)
}

// settle undoes a commit that a power cut has torn. It gives the segments that
// are damaged.
func (r *recovery) settle(numbers []uint64, files map[uint64]string, known map[uint32]uint64) (bad map[uint64]error, err error) {
	undone, bad, err := settleNewest(numbers, files, known, r.s.opts.NoSync)
	for _, path := range undone {
		r.s.log.Warn("the last commit was not complete when the power went, and not acknowledged; it is undone", "path", path)
	}
	return bad, err
}

// soundSegment enters a segment file that is whole.
func (r *recovery) soundSegment(no uint64, path string, sv *survey) error {
	if sv.activated {
		return r.newActivated(no, path, sv)
	}
	if r.s.shelf.ready == nil {
		r.s.shelf.ready = &segment{no: no, path: path}
		return nil
	}
	return os.Remove(path)
}

// newActivated enters a segment with records. Numbers go up, so the one
// entered before it is not the active one.
func (r *recovery) newActivated(no uint64, path string, sv *survey) error {
	s := r.s
	seg := &segment{no: no, path: path, lanes: map[uint32]span{}, keys: sv.hasKeys, txid: sv.txid}
	r.known, r.tally = map[uint32]bool{}, sv.tally
	for id, row := range sv.objects {
		r.objects[id] = row
	}
	for lane, snap := range sv.snaps {
		l := s.lanes.get(lane)
		if l == nil {
			// The lane is durable in the manifest before its first record, so
			// only a manifest that fell back does not know it.
			var err error
			if l, err = newLane(lane, snap.Key); err != nil {
				return err
			}
			s.lanes.add(l)
			s.manifest.state.Lanes = max(s.manifest.state.Lanes, lane)
			r.suspect++
		}
		r.known[lane] = true
		if snap.High > r.ends[lane].Last {
			r.ends[lane] = laneSurvey{span: span{snap.High, snap.High}, after: snap.Bytes}
		}
	}
	for lane, ls := range sv.lanes {
		seg.lanes[lane] = ls.span
		if ls.Last >= r.ends[lane].Last {
			r.ends[lane] = ls
		}
		r.doubt = r.doubt || ls.doubtful
	}
	s.segments[no] = seg
	if r.active != nil {
		r.active.rotated = true
		r.listing = append(r.listing, r.active)
	}
	r.active = seg
	return nil
}

// lostActive: the manifest knows of an active segment of which there is no
// file any more. In every case of doubt what was the active segment is only
// read from now on, so that no segment has numbers from both sides of a gap.
func (r *recovery) lostActive() error {
	s := r.s
	if st := &s.manifest.state; st.Active != 0 && s.segments[st.Active] == nil {
		if !r.broken[st.Active] {
			s.log.Error("the active segment is lost", "dir", s.dir, "segment", st.Active)
			r.damaged++
		}
		r.doubt = true
	}
	for _, l := range s.lanes.sorted() {
		// A sound active segment tells all that there was: its snapshot covers
		// what went before it.
		if end := r.ends[l.no]; r.active != nil && l.marks.High > end.Last {
			s.log.Error("acknowledged records are lost", "dir", s.dir, "lane", l.no, "first", end.Last+1, "last", l.marks.High)
			if !r.doubt {
				r.damaged++
			}
			r.doubt = true
		}
	}
	if r.doubt && r.active != nil {
		r.active.rotated = true
		r.listing = append(r.listing, r.active)
		r.active = nil
	}
	return nil
}

// lanesToEnd decides for each lane which number comes next. Records that the
// manifest knows and no segment holds are lost, and stay in the books until
// they are dead-lettered. Where more may have been acknowledged than anything
// on disk tells of, the numbers jump; after a clean close the manifest's marks
// are exact, and they need not.
func (r *recovery) lanesToEnd() error {
	for _, l := range r.s.lanes.sorted() {
		m := &l.marks
		if end := r.ends[l.no]; end.Last > m.High {
			m.High, m.Bytes = end.Last, max(end.after, m.Bytes)
		}
		if r.doubt && !r.clean {
			m.jump()
		}
		l.next, l.bytes = m.High+1, m.Bytes
		if gap, ok := m.gapAt(l.next); ok {
			l.next = gap.Last + 1
		}
	}
	return nil
}

// jump makes, or widens, a gap behind the last record.
func (m *laneMarks) jump() {
	for i, g := range m.Gaps {
		if g.First <= m.High+1 && m.High+1 <= g.Last {
			m.Gaps[i].Last += skipAhead
			return
		}
	}
	m.Gaps = append(m.Gaps, span{m.High + 1, m.High + skipAhead})
}

// countLive builds the index of where each lane's records are, and counts for
// each segment what is not settled.
func (r *recovery) countLive() error {
	s := r.s
	for _, seg := range s.segments {
		for lane, r := range seg.lanes {
			l := s.lanes.get(lane)
			l.segs = append(l.segs, held{seg: seg, span: r})
			n := r.overlap(span{l.marks.Mark + 1, l.marks.High})
			for _, e := range l.live {
				n += r.overlap(span{e.Batch.First, e.Batch.Last})
			}
			seg.live += n
			s.unsettled += n
		}
		if seg.rotated && seg.keys {
			s.withKeys = append(s.withKeys, seg)
		}
	}
	slices.SortFunc(s.withKeys, func(a, b *segment) int { return cmp.Compare(a.no, b.no) })
	for _, l := range s.lanes.sorted() {
		slices.SortFunc(l.segs, func(a, b held) int { return cmp.Compare(a.First, b.First) })
	}
	return nil
}

// undoneDeadLetters: files of a dead letter whose batch did not become one
// any more are removed; the batch is sent on.
func (r *recovery) undoneDeadLetters() error {
	s := r.s
	entries, err := os.ReadDir(filepath.Join(s.dir, deadName))
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, _, _ := strings.Cut(e.Name(), ".")
		id, err := ingest.ParseBatchID(text)
		if err != nil || s.entries[id] == nil {
			continue
		}
		if err := os.Remove(s.deadPath(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// account measures all files that are not accounted for.
func (r *recovery) account() error {
	s := r.s
	for no, path := range r.files {
		if seg := s.segments[no]; seg == nil || !seg.listed {
			s.disk.measure(path)
		}
	}
	for _, sub := range []string{objectsName, deadName, quarantined} {
		if err := s.disk.scan(filepath.Join(s.dir, sub)); err != nil {
			return err
		}
	}
	for _, name := range []string{lockName, ballastName, manifestName} {
		s.disk.measure(filepath.Join(s.dir, name))
	}
	return nil
}

// activeSegment opens the active segment, or activates a new one.
func (r *recovery) activeSegment() error {
	s, c := r.s, r.s.commit
	if r.active != nil {
		db, file, err := openBoltFile(r.active.path, s.opts.activeDB())
		if err != nil {
			return err
		}
		c.adoptActive(r.active, db, file, r.known, r.tally)
		c.lastTxid = r.active.txid
		return nil
	}
	seg, err := s.takeShelf(true)
	if err != nil {
		return err
	}
	return c.activate(seg)
}

// begin makes what was found durable, and notes that the spool is in use.
func (r *recovery) begin() error {
	s := r.s
	g := &group{s: s, m: s.manifest, state: s.manifest.state, counters: s.counters, marks: map[uint32]laneMarks{}}
	g.state.Epoch++
	g.state.Clean, g.state.Active, g.state.Txid = false, s.active.no, 0
	for _, seg := range r.listing {
		g.state.Rotated = max(g.state.Rotated, seg.no)
	}
	g.counters.Damaged += r.damaged
	g.counters.Suspect += r.suspect
	err := guard(func() error {
		tx, err := s.manifest.db.Begin(true)
		if err != nil {
			return err
		}
		g.tx = tx
		for _, seg := range r.listing {
			row := seg.rowLocked(s)
			g.put(bktSegments, u64(seg.no), pack(&row))
		}
		for _, l := range s.lanes.sorted() {
			g.put(bktLanes, u32(l.no), pack(l.key))
			g.setMarks(l.no, l.marks)
		}
		g.saveObjects()
		for _, id := range r.settled {
			g.del(bktObjects, id[:])
		}
		g.put(bktMeta, keyCounters, pack(&g.counters))
		g.saveState()
		if g.err != nil {
			_ = tx.Rollback()
			return g.err
		}
		return commitTx(tx, s.manifest.path)
	})
	if err != nil {
		return fmt.Errorf("opening the books of %s: %w", s.dir, err)
	}
	for _, seg := range r.listing {
		seg.listed = true
	}
	s.manifest.state, s.counters = g.state, g.counters
	for _, publish := range g.publishes {
		publish()
	}
	s.disk.measure(s.manifest.path)
	return nil
}
