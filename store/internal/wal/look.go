package wal

import (
	"errors"

	"kustospool/internal/vfs"
)

// Look reads the log as Open does and changes nothing: no file is made, written,
// renamed, removed or locked, and no goroutine is started. A directory that is missing is an
// empty log. Of the Log that it returns Scan, ReadAt, Segment and DiskBytes work;
// what would change it fails with ErrClosed. Close ends it.
//
// What it reports is what Open would recover, and the active segment is the one that Open
// would go on with, none where it would begin a new one.
func Look(opts Options, known Known) (*Log, *Recovered, error) {
	r, err := newRecovery(opts, known)
	if err != nil {
		return nil, nil, err
	}
	r.look, r.l.look = true, true
	r.l.err = ErrClosed
	if err := r.run(); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	return r.l, r.out, nil
}

// show enters the segments as they are, in place of activate.
func (r *recovery) show() error {
	active := r.activeOne()
	for _, s := range r.surveys {
		seg := &segment{info: s.info, compacted: s.compacted, index: s.index}
		seg.info.Lanes = nil
		r.k.segs[s.info.No] = seg
		if s == active {
			r.k.active = seg
			r.out.Active = seg.describe()
			continue
		}
		// Its index is read when it is needed, or made by reading all of it.
		seg.info.Lanes, seg.index = s.index.spans(), nil
		r.out.Rotated = append(r.out.Rotated, seg.info)
	}
	for _, s := range r.surveys {
		_ = s.file.Close()
		s.file = nil
	}
	return nil
}

// listDir lists the log's directory, which Open makes.
func (r *recovery) listDir() ([]vfs.Info, error) {
	if !r.look {
		if err := r.k.fs.MkdirAll(r.l.opts.Dir); err != nil {
			return nil, err
		}
	}
	infos, err := r.k.fs.List(r.l.opts.Dir)
	if r.look && vfs.Missing(err) {
		return nil, nil
	}
	return infos, err
}
