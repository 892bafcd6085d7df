package wal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// ReadAt reads bytes of a segment's file as they are, for quarantine.
func (l *Log) ReadAt(no uint64, p []byte, off int64) (int, error) {
	r, err := l.reader(no)
	if err != nil {
		return 0, err
	}
	defer l.files.cache.put(r)
	return r.file.ReadAt(p, off)
}

// Segment says what is known of a segment, rotated or active.
func (l *Log) Segment(no uint64) (SegmentInfo, bool) {
	k := &l.files
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.segs[no]
	if s == nil {
		return SegmentInfo{}, false
	}
	return s.describe(), true
}

// Active says what is known of the segment that is written.
func (l *Log) Active() SegmentInfo {
	k := &l.files
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active.describe()
}

// Recycle takes a settled segment out of the log: its file is recycled, or is
// given back to the volume step by step. It returns once the segment can no
// longer come back after a crash, so that its row may be removed. The
// segment must not be read any more. It fails with ErrNoSegment for one that
// is written or whose Rotated was not called.
func (l *Log) Recycle(no uint64) error {
	if err := l.files.recycle(no, 2*l.opts.SegmentBytes); err != nil {
		return fmt.Errorf("segment %d: %w", no, err)
	}
	return nil
}

// Forget drops a segment that was not found or was set aside by the caller.
func (l *Log) Forget(no uint64) {
	k := &l.files
	k.cache.drop(no)
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.segs[no]; s != nil && s != k.active {
		delete(k.segs, no)
		k.disk.Add(-s.info.Size)
	}
}

// DiskBytes is the size of all files of the log, recycled ones included. It may be
// called by the Gate.
func (l *Log) DiskBytes() int64 { return l.files.disk.Load() }

// FreeUnused gives all unused files, recycled ones too, back to the volume at once, for want of space, and
// returns how many bytes that freed.
func (l *Log) FreeUnused() int64 { return l.files.freeUnused() }
