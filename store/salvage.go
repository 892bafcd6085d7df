package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/vfs"
	"kustospool/store/internal/wal"
)

// Salvage is a plan: what of a spool at rest lies in files that Open does not use and
// proves itself. Open itself takes whatever it can from the files of the log, and makes a
// lost ledger anew; what is left are segments that it could not read or did not know, and
// has set aside, when they can be read after all: a disk was mended, a head is damaged and
// the frames are not, a file was brought back. [ApplySalvage] does what the plan says.
type Salvage struct {
	// Ledger is what is wrong with the ledger, nil where nothing is. Open makes it anew
	// then, and nothing else is planned: what was settled is known only after that.
	Ledger *LedgerError
	Files  []SalvagedFile
	// Letters are dead letters all of whose records are found again. They are dealt with
	// by the plan.
	Letters []ingest.BatchID
}

// SalvagedFile is a file that was set aside. Read == Good + Bad, and
// Good == There + Settled + Lost + Dead + Doubtful + Homeless.
type SalvagedFile struct {
	Name string // below the spool's directory
	Read int64  // records that it has or had
	Good int64  // they prove themselves
	Bad  int64

	There   int64 // wait in the spool and can be read there
	Settled int64
	Lost    int64 // wait in the spool, and cannot be read there: the file is put back into the log
	// Dead were dead-lettered because they could not be read, or will be, as the file's place
	// in the log is taken, or their batch was made without them: they are stored as new.
	Dead int64
	// Doubtful are those of which nobody knows whether they were delivered, also because of an
	// attempt at their batch: they are stored as new where that is asked for.
	Doubtful int64
	Homeless int64 // nobody knows their table, or they are in an object
	Err      error // why the file cannot be read as a segment; nothing was read of it then

	no             uint64
	free           bool // its place in the log
	dead, doubtful []lostRecords
}

// PutBack reports whether the file goes back into the log. Of two of the same segment
// the first one does, and the other has Err.
func (f *SalvagedFile) PutBack() bool { return f.Lost > 0 }

// usedBeside reports whether it has more than what goes back: then it goes back as a
// copy, and is there until that is stored.
func (f *SalvagedFile) usedBeside() bool { return len(f.dead)+len(f.doubtful) > 0 }

// lostRecords are records of a lane in a file of the log.
type lostRecords struct {
	span
	lane  uint32
	props ingest.Properties
}

// PlanSalvage looks at a spool at rest, and changes nothing. The errors are those of [Look],
// but for a LedgerError, which is in the plan.
func PlanSalvage(dir string, opts *Options) (*Salvage, error) {
	p, err := Look(dir, opts)
	var ledger *LedgerError
	if errors.As(err, &ledger) {
		return &Salvage{Ledger: ledger}, nil
	}
	if err != nil {
		return nil, err
	}
	plan, err := p.planSalvage()
	return plan, errors.Join(err, p.Close())
}

func (p *Picture) planSalvage() (*Salvage, error) {
	s := p.s
	v := &salvager{s: s, lost: map[uint32][]span{}, sure: map[uint32][]span{}, dead: map[uint32][]span{}, doubt: map[uint32][]span{},
		byKey: map[string]uint32{}, back: map[uint64]string{}}
	for _, l := range s.lanes.sorted() {
		v.byKey[l.key] = l.no
	}
	for c, err := range p.Check().Records() {
		if err != nil {
			return nil, err
		}
		if c.Err != nil && c.Waiting > 0 { // of a frame a part may be settled
			v.lost[c.Lane] = append(v.lost[c.Lane], parts(s.waiting(s.lanes.get(c.Lane)), span{First: c.First, Last: c.Last})...)
		}
	}
	v.divide()
	letters, err := v.letters()
	if err != nil {
		return nil, err
	}
	for _, spans := range []map[uint32][]span{v.lost, v.sure, v.dead, v.doubt} {
		for _, of := range spans {
			slices.SortFunc(of, func(a, b span) int { return cmp.Compare(a.First, b.First) })
		}
	}
	plan := &Salvage{}
	names, err := v.candidates()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f := v.file(name)
		if f.PutBack() {
			v.back[f.no] = name
		}
		plan.Files = append(plan.Files, f)
	}
	plan.Letters = v.found(letters, plan.Files)
	return plan, nil
}

// salvager knows what of the spool's records is missing.
type salvager struct {
	s     *Store
	lost  map[uint32][]span // by lane: waiting, and not to be read
	sure  map[uint32][]span // of lost: certainly not delivered
	dead  map[uint32][]span // by lane: dead-lettered because of damage, and certainly not delivered
	doubt map[uint32][]span // by lane: of either, of a batch of which an attempt may have arrived
	byKey map[string]uint32
	back  map[uint64]string // by segment: the file that goes back in its place
}

// letters finds what was dead-lettered because it could not be read.
func (v *salvager) letters() (docs []*deadDocument, err error) {
	infos, err := v.s.fs.List(v.s.path(deadName))
	if err != nil && !vfs.Missing(err) {
		return nil, err
	}
	for _, info := range infos {
		id, ok := deadID(info.Name)
		if !ok || v.s.Retried(id) {
			continue
		}
		doc, err := v.s.readDead(id)
		if err != nil || len(doc.Damaged) == 0 {
			continue // check tells of it
		}
		to := v.dead
		if doc.Unresolved > 0 {
			to = v.doubt
		}
		to[doc.Lane] = append(to[doc.Lane], doc.Damaged...)
		docs = append(docs, doc)
	}
	return docs, nil
}

// found are the dead letters that have nothing but damaged records, all of which the
// files have.
func (v *salvager) found(docs []*deadDocument, files []SalvagedFile) (out []ingest.BatchID) {
	got := map[uint32][]span{}
	for i := range files {
		for _, r := range files[i].dead {
			got[r.lane] = append(got[r.lane], r.span)
		}
	}
	for _, of := range got {
		slices.SortFunc(of, func(a, b span) int { return cmp.Compare(a.First, b.First) })
	}
	for _, doc := range docs {
		n, have := int64(0), int64(0)
		for _, d := range doc.Damaged {
			n += d.Count()
			have += count(parts(got[doc.Lane], d))
		}
		if all := (span{First: doc.First, Last: doc.Last}); n == all.Count() && have == n && doc.Bytes == 0 {
			out = append(out, doc.Batch)
		}
	}
	slices.SortFunc(out, func(a, b ingest.BatchID) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// candidates are the files in the quarantine that may be segments, and were moved there
// whole.
func (v *salvager) candidates() (names []string, err error) {
	s := v.s
	infos, err := s.fs.List(s.path(quarantined))
	if err != nil && !vfs.Missing(err) {
		return nil, err
	}
	for _, info := range infos {
		if _, ok := segmentNumber(info.Name); ok && info.Regular {
			names = append(names, quarantined+"/"+info.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// segmentNumber is the number of the segment that a file in the quarantine was: it has
// the name of that, and a number of its own behind it.
func segmentNumber(name string) (no uint64, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 || i+1 == len(name) || strings.Trim(name[i+1:], "0123456789") != "" {
		return 0, false
	}
	if name = name[:i]; !numbered(name, segmentSuffix) {
		return 0, false
	}
	_, err := fmt.Sscanf(name, "%d", &no)
	return no, err == nil && no > 0 && name == segmentName(no)
}

func segmentName(no uint64) string { return fmt.Sprintf("%08d%s", no, segmentSuffix) }

// readAlone opens one file as the only one of a log.
func (s *Store) readAlone(no uint64, path string) (*wal.Log, *wal.Recovered, error) {
	alone := aliasFS{FS: s.fs, dir: s.path(segmentsName), name: segmentName(no), file: path}
	o := wal.Options{FS: alone, Dir: alone.dir, Spool: s.id, SegmentBytes: s.opts.SegmentBytes, OpenSegments: 1}
	log, found, err := wal.Look(o, wal.Known{HighestNo: no})
	if err == nil && len(found.ForeignFiles) > 0 {
		err = errors.Join(found.ForeignFiles[0].Err, closeLog(log))
	}
	return log, found, err
}

func closeLog(log *wal.Log) error {
	_, err := log.Close()
	return err
}

// file says what is in one file.
func (v *salvager) file(name string) SalvagedFile {
	f := SalvagedFile{Name: name}
	no, _ := segmentNumber(filepath.Base(name))
	f.no = no
	if first := v.back[no]; first != "" {
		f.Err = fmt.Errorf("%s goes back as segment %d; what this one has beside it is seen by the next plan", first, no)
		return f
	}
	if seg := v.s.segments[no]; seg == nil || seg.lost {
		_, err := v.s.fs.Stat(v.s.path(segmentsName, segmentName(no)))
		f.free = vfs.Missing(err)
	}
	log, found, err := v.s.readAlone(no, v.s.path(quarantined, filepath.Base(name)))
	if err != nil {
		f.Err = err
		return f
	}
	r := &recovery{log: found}
	if f.free {
		f.free, err = v.fits(log, r.inLog())
	}
	for _, info := range r.inLog() {
		for no, held := range info.Lanes {
			key := ""
			if i := slices.IndexFunc(found.Lanes, func(l wal.Lane) bool { return l.No == no }); i >= 0 {
				key = found.Lanes[i].Key
			}
			if serr := log.Scan(info.No, no, held.First, held.Last, func(w *wal.Found) bool {
				whole := span{First: w.First, Last: w.Last}
				if w.Err == nil {
					w.Err = w.Each(func(uint64, []byte) bool { return true })
				}
				f.Read += whole.Count()
				if w.Err != nil {
					f.Bad += whole.Count()
					return true
				}
				f.Good += whole.Count()
				if w.Ref != nil { // the records are in an object, which is elsewhere
					lost := int64(0)
					if f.free {
						lost = count(parts(v.lost[no], whole))
					}
					f.Lost += lost
					f.Homeless += whole.Count() - lost
					return true
				}
				v.place(&f, no, key, whole)
				return true
			}); serr != nil {
				err = serr
			}
		}
	}
	f.Err = errors.Join(err, closeLog(log))
	return f
}

// place says of sound records of a lane what the spool knows of them.
func (v *salvager) place(f *SalvagedFile, no uint32, key string, r span) {
	s := v.s
	l := s.lanes.get(no)
	if l != nil && key != "" && l.key != key {
		l = nil // the numbers were given out anew since
	}
	if l == nil {
		var props ingest.Properties
		if key == "" || json.Unmarshal([]byte(key), &props) != nil {
			f.Homeless += r.Count()
			return
		}
		f.Doubtful += r.Count()
		f.doubtful = append(f.doubtful, lostRecords{r, no, props})
		return
	}
	row, _ := s.ledger.Lane(no)
	unsettled := s.waiting(l)
	take := func(of []span, n *int64, list *[]lostRecords) int64 {
		var sum int64
		for _, p := range parts(of, r) {
			sum += p.Count()
			if list != nil {
				*list = append(*list, lostRecords{p, no, l.props})
			}
		}
		*n += sum
		return sum
	}
	left := r.Count()
	doubt := v.doubt[no]
	if f.free {
		left -= take(v.lost[no], &f.Lost, nil)
		doubt = without(doubt, v.lost[no]) // under their own batch they go with its tag
	} else {
		left -= take(v.sure[no], &f.Dead, &f.dead)
	}
	left -= take(doubt, &f.Doubtful, &f.doubtful)
	there := count(parts(unsettled, r)) - count(parts(v.lost[no], r))
	f.There += there
	left -= there
	left -= take(v.dead[no], &f.Dead, &f.dead)
	high, _ := s.end(no)
	unknown := parts(row.Watermarks.Gaps, r)
	if r.Last > high {
		unknown = append(unknown, parts([]span{{First: high + 1, Last: max(r.Last, high+1)}}, r)...)
	}
	if r.First <= row.Watermarks.Base {
		unknown = append(unknown, parts([]span{{First: 1, Last: row.Watermarks.Base}}, r)...)
	}
	left -= take(unknown, &f.Doubtful, &f.doubtful)
	f.Settled += left
}

// aliasFS shows one file under another name, as the only one of a directory.
type aliasFS struct {
	vfs.FS
	dir, name, file string
}

func (a aliasFS) real(name string) string {
	if name == filepath.Join(a.dir, a.name) {
		return a.file
	}
	return name
}

func (a aliasFS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	if mode != vfs.ReadOnly {
		return nil, errUnchanged
	}
	return a.FS.Open(a.real(name), mode)
}

func (a aliasFS) Stat(name string) (vfs.Info, error) {
	info, err := a.FS.Stat(a.real(name))
	if a.real(name) == a.file {
		info.Name = a.name
	}
	return info, err
}

func (a aliasFS) List(dir string) ([]vfs.Info, error) {
	if dir != a.dir {
		return a.FS.List(dir)
	}
	info, err := a.Stat(filepath.Join(a.dir, a.name))
	if err != nil {
		return nil, err
	}
	return []vfs.Info{info}, nil
}
