package wal

import (
	"errors"
	"fmt"

	"kustospool/internal/vfs"
)

// cut takes back what somebody has made a segment's file too large by.
func (r *recovery) cut(no uint64, info *vfs.Info) error {
	if info.Size <= maxFileBytes || r.look {
		return nil
	}
	f, err := r.k.fs.Open(r.k.path(no, extLog), vfs.ReadWrite)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(maxFileBytes), f.Close()); err != nil {
		return err
	}
	info.Size = maxFileBytes
	return nil
}

// applyTombstone takes a file that a tombstone names out of the log, if it is the one
// that is meant.
func (r *recovery) applyTombstone(no, generation uint64, info vfs.Info) (bool, error) {
	f, err := r.k.fs.Open(r.k.path(no, extLog), vfs.ReadOnly)
	if errors.Is(err, vfs.ErrNotRegular) {
		r.foreign(info.Name, info.Size, err)
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
		r.foreign(info.Name, info.Size, fmt.Errorf("settled, but it does not say that it is that file: %w", err))
		return true, nil
	}
	if h.no != no || h.generation != generation {
		return false, nil
	}
	return true, r.recycle(no, info.Size)
}

// recycle renames a segment that holds nothing any more.
func (r *recovery) recycle(no uint64, size int64) error {
	if r.look {
		return nil
	}
	if err := r.k.fs.Rename(r.k.path(no, extLog), r.k.path(no, extRecycled)); err != nil {
		return err
	}
	r.addUnused(unusedFile{no, extRecycled, size})
	return nil
}

// survey reads a segment that has no row, or another size than its row says.
func (r *recovery) survey(st scanStart, row *SegmentInfo) (*survey, error) {
	mode := vfs.ReadWrite
	if r.look {
		mode = vfs.ReadOnly
	}
	f, err := r.k.fs.Open(r.k.path(st.no, extLog), mode)
	if errors.Is(err, vfs.ErrNotRegular) {
		r.foreign(st.name, st.size, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := r.read(f, st, row)
	if err != nil {
		_ = f.Close()
		r.foreign(st.name, st.size, err)
		return nil, nil
	}
	if s.info.LastCommit == 0 && !s.tailUnread && !s.headless && len(s.damage) == 0 {
		// Prepared and not written to, or only by a commit that was cut off.
		_ = f.Close()
		return nil, r.recycle(st.no, st.size)
	}
	r.noteLast(s.info.LastCommit, s.info.Chain)
	r.surveys = append(r.surveys, &surveyed{survey: s, file: f, listed: row != nil})
	return s, nil
}

func (r *recovery) read(f vfs.File, st scanStart, row *SegmentInfo) (*survey, error) {
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
	if row != nil {
		st.generation = row.Generation
	}
	if err == nil {
		st.until = known.End
	} else if row != nil && (herr != nil || h.generation == row.Generation) {
		// Of one that was cut off, the frames before the cut are looked for.
		st.until = min(row.End, st.size)
	}
	s, werr := scanSegment(f, o.Spool, h, herr, st)
	if werr != nil {
		return nil, werr
	}
	if err == nil {
		s.sealed = true
		s.info.Index = known.Index
	}
	return s, nil
}
