package wal

import (
	"cmp"
	"errors"
	"slices"

	"kustospool/internal/vfs"
	"kustospool/internal/wake"
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
	r, err := newRecovery(opts, known)
	if err != nil {
		return nil, nil, err
	}
	if err := r.run(); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	l := r.l
	l.wait.Go(l.run)
	if !l.opts.inline {
		l.files.start()
	}
	return l, r.out, nil
}

func newRecovery(opts Options, known Known) (*recovery, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{
		opts: opts, fs: opts.FS, gate: opts.Gate, lanes: map[uint32]*lane{}, open: new(group),
		wake: wake.New(), quit: make(chan struct{}),
	}
	k := &l.files
	*k = files{
		fs: opts.FS, dir: opts.Dir, spool: opts.Spool, maxRecycled: opts.RecycledFiles, noSync: opts.NoSync, bugs: opts.bugs, tell: opts.Rotated, freed: opts.Freed,
		commits: l.commits.Load, generation: opts.generation, inline: opts.inline, segs: map[uint64]*segment{}, cache: readers{limit: opts.OpenSegments},
		poke: wake.New(), quit: make(chan struct{}),
	}
	return &recovery{l: l, k: k, known: known, out: &Recovered{}, lanes: map[uint32]*Lane{}}, nil
}

// recovery is one Open, or one Look.
type recovery struct {
	l     *Log
	k     *files
	known Known
	out   *Recovered
	lanes map[uint32]*Lane
	look  bool // change nothing

	surveys []*surveyed
	last    uint64 // number of the last commit of all
	chain   uint32
}

// surveyed is a segment that was read, open for writing unless it was only looked at.
type surveyed struct {
	*survey
	file   vfs.File
	listed bool // it has a row, which another size has made doubtful: it was rotated
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
	infos, err := r.listDir()
	if err != nil {
		return err
	}
	r.k.highest = min(r.known.HighestNo, maxSegmentNo)
	for _, s := range r.known.Segments {
		r.k.highest = max(r.k.highest, s.No)
		r.noteLast(s.LastCommit, s.Chain)
	}
	for _, s := range r.known.Tombstones {
		if s.No <= maxSegmentNo { // no file has a name with a higher one
			r.k.highest = max(r.k.highest, s.No)
		}
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
	// Names that are seen count once they are durable: a file that was put in
	// another's place before a kill could else be the other one again after a cut.
	if !r.look {
		if err := r.k.syncDir(); err != nil {
			return err
		}
	}
	if err := r.adopt(); err != nil {
		return err
	}
	if r.look {
		return r.show()
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
	for _, s := range r.known.Tombstones {
		settled[s.No] = s.Generation
	}
	type logFile struct {
		no   uint64
		info vfs.Info
	}
	var logs []logFile
	most := r.mostNo(infos)
	for _, info := range infos {
		no, ext, ok := parseName(info.Name)
		switch {
		case ok && no > most:
			r.foreign(info.Name, 0, errors.New("no segment was given such a number"))
			continue
		case !ok:
			if !info.Dir {
				r.foreign(info.Name, 0, errors.New("not a name of the log"))
			}
			continue
		case !info.Regular:
			r.k.highest = max(r.k.highest, no)
			r.foreign(info.Name, 0, vfs.ErrNotRegular)
			continue
		}
		r.k.highest = max(r.k.highest, no)
		if ext == extLog {
			if err := r.cut(no, &info); err != nil {
				return err
			}
		}
		r.k.disk.Add(info.Size)
		switch ext {
		case extLog:
			logs = append(logs, logFile{no, info})
		case extRecycled:
			r.addUnused(unusedFile{no, ext, info.Size})
		default:
			r.k.drops = append(r.k.drops, unusedFile{no, ext, info.Size})
		}
	}
	// From the newest on: what is in a segment says that all before was acknowledged.
	slices.SortFunc(logs, func(a, b logFile) int { return cmp.Compare(b.no, a.no) })
	proven := r.known.Active.Commit
	var next SegmentInfo // the one behind
	found := map[uint64]bool{}
	for _, f := range logs {
		if generation, ok := settled[f.no]; ok {
			gone, err := r.applyTombstone(f.no, generation, f.info)
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
		st := scanStart{no: f.no, name: f.info.Name, size: f.info.Size, proven: proven, before: next.FirstCommit, bugs: r.l.opts.bugs}
		if a := r.known.Active; a.No == f.no && a.End > headBytes {
			st.reach, st.least = a.Commit, a.End
		}
		if next.No == f.no+1 && next.FirstCommit > 0 {
			st.reach = max(st.reach, next.FirstCommit-1)
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
		if s == nil {
			found[f.no] = false // it is not the file that a row is for
		}
	}
	slices.Reverse(r.surveys)
	for no := range rows {
		if !found[no] {
			r.out.Missing = append(r.out.Missing, no)
		}
	}
	slices.Sort(r.out.Missing)
	return nil
}

// mostNo is the highest number that a segment can have, as far as the ledger and the
// names tell.
func (r *recovery) mostNo(infos []vfs.Info) uint64 {
	var all []uint64
	for _, info := range infos {
		if no, _, ok := parseName(info.Name); ok {
			all = append(all, no)
		}
	}
	slices.Sort(all)
	most := r.k.highest
	for _, no := range all {
		if no > most && no-most > maxLeap {
			break
		}
		most = max(most, no)
	}
	return most
}

// foreign notes what is not of the log, and was counted as if it were.
func (r *recovery) foreign(name string, counted int64, err error) {
	r.k.disk.Add(-counted)
	r.out.ForeignFiles = append(r.out.ForeignFiles, ForeignFile{Name: name, Err: err})
}

// addUnused takes a file that holds nothing any more.
func (r *recovery) addUnused(f unusedFile) {
	if len(r.k.recycled) < r.k.maxRecycled && f.size <= 2*r.l.opts.SegmentBytes && f.ext == extRecycled {
		r.k.recycled = append(r.k.recycled, f)
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
