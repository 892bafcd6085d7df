package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
	"kustospool/store/internal/wal"
)

// Salvaged is what ApplySalvage did.
type Salvaged struct {
	Plan *Salvage
	// Kept is a directory below the spool's: what was replaced or used up is in it. Empty where
	// nothing was done.
	Kept     string
	PutBack  int64 // records that are readable again under their own numbers
	Stored   int64 // that were stored as new
	Doubtful int64 // of Stored: they count as possible duplicates
	Again    int64 // that are open again, because the ledger was made anew; they count as possible duplicates
}

// ApplySalvage does what [PlanSalvage] plans for the spool as it is now, and with doubtful also
// stores what may have been delivered before. It keeps all files that it replaces. A call that was cut off,
// at any point, can be repeated within KeyRetention: nothing is stored twice. The errors are those of
// PlanSalvage and [Open], ErrFull, and ctx's.
func ApplySalvage(ctx context.Context, dir string, opts *Options, doubtful bool) (*Salvaged, error) {
	plan, err := PlanSalvage(dir, opts)
	if err != nil {
		return nil, err
	}
	a := &salvaging{out: &Salvaged{Plan: plan}, doubtful: doubtful, name: "salvage-" + time.Now().UTC().Format("20060102T150405.000Z")}
	if !a.worth() {
		return a.out, nil
	}
	if err := a.before(dir, opts); err != nil {
		return nil, err
	}
	if a.s, err = Open(dir, opts); err != nil {
		return nil, err
	}
	err = a.after(ctx)
	return a.out, errors.Join(err, a.s.Close())
}

// salvaging is a plan that is carried out.
type salvaging struct {
	out      *Salvaged
	doubtful bool
	name     string // of the directory for what is kept
	s        *Store
}

// worth reports whether the plan does anything.
func (a *salvaging) worth() bool {
	p := a.out.Plan
	return p.Ledger != nil || slices.ContainsFunc(p.Files, func(f SalvagedFile) bool { return f.PutBack() || len(a.of(&f)) > 0 })
}

// of are the records of a file that are stored as new.
func (a *salvaging) of(f *SalvagedFile) []lostRecords {
	if a.doubtful {
		return append(slices.Clone(f.dead), f.doubtful...)
	}
	return f.dead
}

// before does what has to be done while no store is open: Open itself makes the ledger anew,
// and takes up a segment that is in its place.
func (a *salvaging) before(dir string, opts *Options) (err error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	s := &Store{dir: dir, opts: o, log: o.Logger, fs: o.files, disk: newDisk()}
	if s.lock, err = lockDir(s.fs, dir, o.LockTimeout); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lock.Close()) }()
	a.out.Kept = quarantined + "/" + a.name
	if err := s.fs.MkdirAll(s.path(quarantined, a.name)); err != nil {
		return err
	}
	if err := errors.Join(s.syncDir(s.path(quarantined)), s.syncDir(s.dir)); err != nil {
		return err
	}
	if a.out.Plan.Ledger != nil {
		return a.keepLedger(s)
	}
	for i := range a.out.Plan.Files {
		f := &a.out.Plan.Files[i]
		if !f.PutBack() {
			continue
		}
		from := s.path(filepath.FromSlash(f.Name))
		if f.usedBeside() {
			copied := s.path(quarantined, a.name, segmentName(f.no))
			if err := s.copyFile(s.fs, from, copied); err != nil {
				return err
			}
			from = copied
		}
		if err := s.fs.Rename(from, s.path(segmentsName, segmentName(f.no))); err != nil {
			return err
		}
		if err := errors.Join(s.syncDir(s.path(segmentsName)), s.syncDir(s.path(quarantined))); err != nil {
			return err
		}
		a.out.PutBack += f.Lost
		crashpoint.Reach("salvage.put-back")
	}
	return nil
}

// keepLedger copies the ledger as it is.
func (a *salvaging) keepLedger(s *Store) error {
	err := s.copyFile(s.books(), s.ledgerPath(), s.path(quarantined, a.name, ledgerName))
	if vfs.Missing(err) || errors.Is(err, vfs.ErrNotRegular) {
		return nil
	}
	return err
}

// copyFile copies a file of a file system durably.
func (s *Store) copyFile(fsys vfs.FS, name, to string) error {
	from, err := fsys.Open(name, vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer from.Close() // it is only read
	return s.writeFile(to, func(w *fileWriter) error {
		_, err := copyAll(w, from)
		return err
	})
}

func (a *salvaging) after(ctx context.Context) error {
	s, plan := a.s, a.out.Plan
	if plan.Ledger != nil {
		a.out.Again = s.Stats().Acked
		return nil
	}
	for i := range plan.Files {
		f := &plan.Files[i]
		if list := a.of(f); len(list) > 0 {
			if err := a.store(ctx, f, list); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	crashpoint.Reach("salvage.stored")
	for _, id := range plan.Letters {
		doc, err := s.readDead(id)
		if vfs.Missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range []string{id.String() + ".json", doc.Payload} { // the document first, as removeDead has it
			if err := a.keep(deadName, name); err != nil {
				return err
			}
		}
	}
	for i := range plan.Files {
		// What is used up goes, or a plan after KeyRetention would store it again.
		f := &plan.Files[i]
		there := !f.PutBack() || f.usedBeside()
		if there && f.Err == nil && (f.Homeless == 0 || len(a.of(f)) > 0) && (a.doubtful || f.Doubtful == 0) {
			if err := a.keep(quarantined, filepath.Base(f.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep moves a file to what is kept.
func (a *salvaging) keep(sub, name string) error {
	s := a.s
	from, to := s.path(sub, name), s.path(quarantined, a.name, name)
	if err := s.fs.Rename(from, to); err != nil {
		return ignoreMissing(err)
	}
	s.disk.set(from, 0)
	crashpoint.Reach("salvage.kept")
	return errors.Join(s.syncDir(s.path(quarantined, a.name)), s.syncDir(s.path(sub)))
}

// salvageAtOnce bounds the records of one append, and their bytes.
const (
	salvageAtOnce = 256
	salvageBytes  = 1 << 20
)

// store appends records of a file as new ones. Each has a key, so that a repeat finds it.
func (a *salvaging) store(ctx context.Context, f *SalvagedFile, list []lostRecords) error {
	s := a.s
	log, found, err := s.readAlone(f.no, s.path(filepath.FromSlash(f.Name)))
	if err != nil {
		return err
	}
	for i, r := range list {
		if err = a.storeRange(ctx, log, (&recovery{log: found}).inLog(), r, i >= len(f.dead)); err != nil {
			break
		}
	}
	return errors.Join(err, closeLog(log))
}

func (a *salvaging) storeRange(ctx context.Context, log *wal.Log, infos []wal.SegmentInfo, r lostRecords, doubtful bool) error {
	s := a.s
	lane, err := s.Lane(ctx, &r.props, FrameLimit{})
	if err != nil {
		return err
	}
	var recs []Record
	var bytes int
	flush := func() error {
		if len(recs) == 0 {
			return nil
		}
		if doubtful {
			if err := a.countDoubtful(recs); err != nil {
				return err
			}
		}
		done, err := s.Append(ctx, recs)
		if err != nil {
			return err
		}
		for _, d := range done {
			if !d.Duplicate {
				a.out.Stored++
			}
		}
		recs, bytes = nil, 0
		return nil
	}
	for _, info := range infos {
		var failed error
		err := log.Scan(info.No, r.lane, r.First, r.Last, func(w *wal.Found) bool {
			if w.Err != nil || w.Ref != nil {
				return true
			}
			failed = errors.Join(w.Each(func(seq uint64, data []byte) bool {
				if seq >= r.First && seq <= r.Last {
					recs = append(recs, Record{Lane: lane, Data: slices.Clone(data), Key: fmt.Sprintf("salvage/%s/%d/%d", s.id, r.lane, seq)})
					bytes += len(data)
				}
				return true
			}))
			if failed == nil && (len(recs) >= salvageAtOnce || bytes >= salvageBytes) {
				failed = flush()
			}
			return failed == nil
		})
		if err = errors.Join(err, failed); err != nil {
			return s.translate(err)
		}
	}
	return flush()
}

// countDoubtful counts what is stored next and was not before. A call that is cut off behind
// it counts some twice: too many possible duplicates are safe, and too few are not.
func (a *salvaging) countDoubtful(recs []Record) error {
	n := int64(0)
	for i := range recs {
		_, known, err := gate{a.s}.Key(recs[i].Lane, hashKey(a.s.id, recs[i].Lane, recs[i].Key))
		if err != nil {
			return a.s.translate(err)
		}
		if !known {
			n++
		}
	}
	a.out.Doubtful += n
	if n == 0 {
		return nil
	}
	return a.s.CountPossibleDuplicates(background, n)
}
