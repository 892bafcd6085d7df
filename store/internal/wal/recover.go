package wal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"kustospool/internal/vfs"
)

// Open recovers the log, which is made when the directory is empty, and starts
// its goroutines. It fails when the directory cannot be read or written, never
// because of what a file says.
//
// What can be durable without a caller knowing is the last commit: it is
// written again and synced before it counts. After a failed sync the system may
// show bytes that are not on the disk, and a sync that returns nil later says nothing
// of them; a second write does.
func Open(opts Options, known Known) (*Log, *Recovered, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	l := &Log{
		opts: opts, fs: opts.FS, gate: opts.Gate, lanes: map[uint32]*lane{}, open: new(group),
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	k := &l.files
	*k = files{
		fs: opts.FS, dir: opts.Dir, spool: opts.Spool, stock: opts.Stock, noSync: opts.NoSync, bugs: opts.bugs, tell: opts.Rotated, freed: opts.Freed,
		commits: l.commits.Load, generation: opts.generation, inline: opts.inline, segs: map[uint64]*segment{}, cache: readers{limit: opts.OpenSegments},
		poke: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	r := &recovery{l: l, k: k, known: known, out: &Recovered{}, lanes: map[uint32]*Lane{}}
	if err := r.run(); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	l.wait.Go(l.run)
	if !opts.inline {
		k.start()
	}
	return l, r.out, nil
}

// recovery is one Open.
type recovery struct {
	l     *Log
	k     *files
	known Known
	out   *Recovered
	lanes map[uint32]*Lane

	renamed bool
	surveys []*surveyed
	last    uint64 // number of the last commit of all
	chain   uint32
}

// surveyed is a segment that was read, open for writing.
type surveyed struct {
	*survey
	file vfs.File
}

func (r *recovery) close() (err error) {
	for _, s := range r.surveys {
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
	}
	if f := r.l.w.file; f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (r *recovery) run() error {
	o := &r.l.opts
	if err := r.k.fs.MkdirAll(o.Dir); err != nil {
		return err
	}
	infos, err := r.k.fs.List(o.Dir)
	if err != nil {
		return err
	}
	r.k.highest = r.known.HighestNo
	for _, s := range r.known.Segments {
		r.k.highest = max(r.k.highest, s.No)
		r.noteLast(s.LastCommit, s.Chain)
	}
	for _, s := range r.known.Settled {
		r.k.highest = max(r.k.highest, s.No)
	}
	for _, ln := range r.known.Lanes {
		if ln.Next == 0 {
			ln.Next = 1
		}
		r.lanes[ln.No] = &ln
	}
	if err := r.files(infos); err != nil {
		return err
	}
	if r.renamed {
		if err := r.k.syncDir(); err != nil {
			return err
		}
	}
	if err := r.adopt(); err != nil {
		return err
	}
	return r.activate()
}

func (r *recovery) noteLast(number uint64, chain uint32) {
	if number > r.last {
		r.last, r.chain = number, chain
	}
}

// files goes through the directory: what Known has a row for is taken as it
// is, the rest is read.
func (r *recovery) files(infos []vfs.Info) error {
	rows := map[uint64]*SegmentInfo{}
	for i := range r.known.Segments {
		rows[r.known.Segments[i].No] = &r.known.Segments[i]
	}
	settled := map[uint64]uint64{}
	for _, s := range r.known.Settled {
		settled[s.No] = s.Generation
	}
	type logFile struct {
		no   uint64
		info vfs.Info
	}
	var logs []logFile
	for _, info := range infos {
		no, ext, ok := parseName(info.Name)
		switch {
		case !ok:
			if !info.Dir {
				r.stranger(info.Name, errors.New("not a name of the log"))
			}
			continue
		case !info.Regular:
			r.k.highest = max(r.k.highest, no)
			r.stranger(info.Name, vfs.ErrNotRegular)
			continue
		}
		r.k.highest = max(r.k.highest, no)
		r.k.disk.Add(info.Size)
		switch ext {
		case extLog:
			logs = append(logs, logFile{no, info})
		case extSpare:
			// Its name must be durable before the file gets another head.
			r.renamed = true
			r.spare(leftover{no, ext, info.Size})
		default:
			r.k.drops = append(r.k.drops, leftover{no, ext, info.Size})
		}
	}
	// From the newest on: what is in a segment says that all before was acknowledged.
	slices.SortFunc(logs, func(a, b logFile) int { return cmp.Compare(b.no, a.no) })
	proven := r.known.Active.Commit
	var next SegmentInfo // the one behind
	found := map[uint64]bool{}
	for _, f := range logs {
		if generation, ok := settled[f.no]; ok {
			gone, err := r.settle(f.no, generation, f.info)
			if err != nil {
				return err
			}
			if gone {
				continue
			}
		}
		found[f.no] = true
		if row := rows[f.no]; row != nil && row.Size == f.info.Size {
			r.k.segs[f.no] = &segment{info: *row}
			r.noteSpans(row)
			proven, next = max(row.FirstCommit, 1)-1, *row
			continue
		}
		st := walkStart{no: f.no, name: f.info.Name, size: f.info.Size, proven: proven, before: next.FirstCommit, bugs: r.l.opts.bugs}
		if a := r.known.Active; a.No == f.no && a.End > headBytes {
			st.reach = a.Commit
		}
		if next.No == f.no+1 && next.FirstCommit > 0 {
			st.reach = next.FirstCommit - 1
		}
		s, err := r.survey(st, rows[f.no])
		if err != nil {
			return err
		}
		switch {
		case s != nil && s.info.FirstCommit > 0:
			proven, next = s.info.FirstCommit-1, s.info
		case next.No == f.no+1:
			next.No = f.no // nothing is in this one
		}
	}
	slices.Reverse(r.surveys)
	for no := range rows {
		if !found[no] {
			r.out.Missing = append(r.out.Missing, no)
		}
	}
	slices.Sort(r.out.Missing)
	for _, s := range r.known.Settled {
		if !found[s.No] {
			r.out.Gone = append(r.out.Gone, s)
		}
	}
	return nil
}

func (r *recovery) stranger(name string, err error) {
	r.out.Strangers = append(r.out.Strangers, Stranger{Name: name, Err: err})
}

// spare takes a file that holds nothing any more.
func (r *recovery) spare(f leftover) {
	if len(r.k.spares) < r.k.stock && f.size <= 2*r.l.opts.SegmentBytes && f.ext == extSpare {
		r.k.spares = append(r.k.spares, f)
		return
	}
	r.k.drops = append(r.k.drops, f)
}

// noteSpans keeps the numbers of a lane from being given out again.
func (r *recovery) noteSpans(row *SegmentInfo) {
	for no, s := range row.Lanes {
		r.lane(no).Next = max(r.lane(no).Next, s.Last+1)
	}
}

func (r *recovery) lane(no uint32) *Lane {
	ln := r.lanes[no]
	if ln == nil {
		ln = &Lane{No: no, Next: 1}
		r.lanes[no] = ln
	}
	return ln
}

// settle takes a file that a tombstone names out of the log, if it is the one
// that is meant.
func (r *recovery) settle(no, generation uint64, info vfs.Info) (bool, error) {
	f, err := r.k.fs.Open(r.k.path(no, extLog), vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotRegular) {
		r.stranger(info.Name, err)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var page [headBytes]byte
	err = readFull(f, page[:], 0)
	_ = f.Close()
	var h head
	if err == nil {
		h, err = parseHead(page[:], r.k.spool)
	}
	if err != nil {
		r.stranger(info.Name, fmt.Errorf("settled, but it does not say that it is that file: %w", err))
		return true, nil
	}
	if h.no != no || h.generation != generation {
		return false, nil
	}
	return true, r.toSpare(no, info.Size)
}

// toSpare renames a segment that holds nothing any more.
func (r *recovery) toSpare(no uint64, size int64) error {
	if err := r.k.fs.Rename(r.k.path(no, extLog), r.k.path(no, extSpare)); err != nil {
		return err
	}
	r.renamed = true
	r.spare(leftover{no, extSpare, size})
	return nil
}

// survey reads a segment that has no row, or another size than its row says.
func (r *recovery) survey(st walkStart, row *SegmentInfo) (*survey, error) {
	f, err := r.k.fs.Open(r.k.path(st.no, extLog), vfs.ReadWrite)
	if errors.Is(err, vfs.ErrNotRegular) {
		r.stranger(st.name, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := r.look(f, st, row)
	if err != nil {
		_ = f.Close()
		r.stranger(st.name, err)
		return nil, nil
	}
	if s.info.LastCommit == 0 && !s.doubt && !s.headless && len(s.damage) == 0 {
		// Prepared and not written to, or only by a commit that was cut off.
		_ = f.Close()
		return nil, r.toSpare(st.no, st.size)
	}
	r.noteLast(s.info.LastCommit, s.info.Chain)
	r.surveys = append(r.surveys, &surveyed{survey: s, file: f})
	return s, nil
}

func (r *recovery) look(f vfs.File, st walkStart, row *SegmentInfo) (*survey, error) {
	o := &r.l.opts
	x, known, err := readIndex(f, o.Spool, st.no, st.size, o.bugs)
	if err == nil && !known.Keys && !known.Positions {
		return &survey{info: *known, name: st.name, index: x, refs: x.refs, sealed: true, compacted: x.compacted}, nil
	}
	var h head
	page := make([]byte, headBytes)
	herr := readFull(f, page, 0)
	if herr == nil {
		h, herr = parseHead(page, o.Spool)
	}
	if errors.Is(herr, errForeign) {
		return nil, herr
	}
	if err == nil {
		st.until = known.End
	} else if row != nil && (herr != nil || h.generation == row.Generation) {
		// Of one that was cut off, the frames before the cut are looked for.
		st.until = min(row.End, st.size)
	}
	s, werr := walk(f, o.Spool, h, herr, st)
	if werr != nil {
		return nil, werr
	}
	if err == nil {
		s.sealed = true
		s.info.Index = known.Index
	}
	return s, nil
}

// adopt takes over what the surveys found.
func (r *recovery) adopt() error {
	ends := map[uint32]uint64{} // last record of each lane in the segment before
	var before *surveyed
	for _, s := range r.surveys {
		r.crossCheck(before, s, ends)
		before = s
		clear(ends)
		for no, x := range s.index.lanes {
			ln := r.lane(no)
			if x.defined && ln.Key == "" {
				ln.Key, ln.Separator = x.key, x.separator
			}
			if len(x.places) > 0 {
				ends[no] = x.Last
				if x.Last >= ln.Next {
					ln.Next, ln.Bytes = x.Last+1, x.bytes
				}
			}
		}
		r.out.Keys = append(r.out.Keys, s.extras.keys...)
		r.out.Positions = append(r.out.Positions, s.extras.positions...)
		r.out.Refs = append(r.out.Refs, s.refs...)
		r.out.Damage = append(r.out.Damage, s.damage...)
		r.out.Doubt = r.out.Doubt || s.doubt
	}
	for _, no := range sortedKeys(r.lanes) {
		ln := *r.lanes[no]
		r.out.Lanes = append(r.out.Lanes, ln)
		r.l.addLane(ln)
	}
	a := r.known.Active
	r.out.Doubt = r.out.Doubt || a.End > headBytes && a.Commit > r.last && !r.settledOrRow(a.No)
	r.noteLast(a.Commit, 0)
	return nil
}

// settledOrRow reports whether the ledger answers for a segment.
func (r *recovery) settledOrRow(no uint64) bool {
	return slices.ContainsFunc(r.known.Settled, func(s Settled) bool { return s.No == no }) ||
		slices.ContainsFunc(r.known.Segments, func(s SegmentInfo) bool { return s.No == no })
}

// crossCheck tells of commits that are missing between two segments: the first
// commit of a segment proves all of the one before it.
func (r *recovery) crossCheck(a, b *surveyed, ends map[uint32]uint64) {
	if a == nil || a.compacted || b.compacted || b.info.FirstCommit == 0 || b.info.No != a.info.No+1 {
		return
	}
	if a.info.LastCommit+1 >= b.info.FirstCommit {
		return
	}
	if !a.tailHole {
		a.tailHole = true
		r.out.Damage = append(r.out.Damage, Damage{Segment: a.info.No, Name: a.name, Off: a.info.End, Err: ErrDamaged})
	}
	d := &r.out.Damage[len(r.out.Damage)-1]
	d.Err = fmt.Errorf("%w; commits %d to %d are missing", d.Err, a.info.LastCommit+1, b.info.FirstCommit-1)
	for _, no := range sortedKeys(b.index.lanes) {
		x := b.index.lanes[no]
		if last, ok := ends[no]; ok && len(x.places) > 0 && x.First > last+1 {
			d.Lost = append(d.Lost, Lost{no, Span{last + 1, x.First - 1}})
		}
	}
}

// activate chooses the segment that is written next. It is the last one where
// that has room and nothing about its end is in doubt.
func (r *recovery) activate() error {
	l := r.l
	var active *surveyed
	if n := len(r.surveys); n > 0 {
		s := r.surveys[n-1]
		newest := true
		for no := range r.k.segs {
			newest = newest && no < s.info.No
		}
		if newest && !s.compacted && !s.doubt && !s.tailHole && !s.headless && s.info.LastCommit == r.last &&
			s.info.End+s.index.grow() < l.opts.SegmentBytes && s.index.frames < maxIndexed && !s.index.full {
			active = s
		}
	}
	for _, s := range r.surveys {
		seg := &segment{info: s.info, compacted: s.compacted, index: s.index}
		seg.info.Lanes = nil
		r.k.segs[s.info.No] = seg
		if s == active {
			continue
		}
		if !s.sealed && !s.headless {
			// Without an index it is read from front to back when it is needed.
			if err := r.again(s); err != nil {
				return err
			}
			_ = r.k.writeIndex(s.file, seg)
		}
		_ = s.file.Close()
		s.file = nil
		seg.info.Lanes, seg.index = s.index.spans(), nil
		r.out.Rotated = append(r.out.Rotated, seg.info)
	}
	l.w.number, l.w.chain = r.last, r.chain
	if active == nil {
		p, err := r.k.prepare()
		if err != nil {
			if vfs.NoSpace(err) {
				err = fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
			return err
		}
		l.activate(p)
		r.out.Active = p.seg.describe()
		return nil
	}
	w := &l.w
	w.file, w.seg, w.end, w.size = active.file, r.k.segs[active.info.No], active.info.End, active.info.Size
	active.file = nil
	w.sealed = active.sealed
	if !active.sealed {
		active.file = w.file
		err := r.again(active)
		active.file = nil
		if err != nil {
			return err
		}
	}
	l.seed.Store(seedOf(active.info.Generation))
	r.k.active = w.seg
	l.end, l.size, l.index = w.end, w.size, w.seg.index.grow()
	for no, x := range w.seg.index.lanes {
		if x.defined {
			l.lanes[no].definedIn = active.info.No
		}
	}
	r.out.Active = w.seg.describe()
	return nil
}

// again writes the last commit of a segment once more and syncs it.
func (r *recovery) again(s *surveyed) error {
	if r.l.opts.NoSync || r.l.opts.bugs.noRewrite || s.lastOff == 0 {
		return nil
	}
	buf := make([]byte, min(s.info.End-s.lastOff, windowBytes))
	for off := s.lastOff; off < s.info.End; {
		p := buf[:min(int64(len(buf)), s.info.End-off)]
		if err := readFull(s.file, p, off); err != nil {
			return err
		}
		if _, err := s.file.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return s.file.Sync()
}
