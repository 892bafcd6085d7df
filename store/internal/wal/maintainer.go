package wal

import (
	"slices"
	"time"

	"kustospool/internal/vfs"
)

// How a file that is not needed is given back: shortened step by step and at
// last unlinked, since an unlink of a large file stops the file system's
// journal, and so the next sync. The steps are small while commits come.
const (
	dropStep      = 16 << 20
	dropStepBusy  = 1 << 20
	dropPause     = 2 * time.Millisecond
	dropPauseBusy = 20 * time.Millisecond
)

// runMaintainer is the maintainer's goroutine.
func (k *files) runMaintainer() {
	var timer <-chan time.Time
	var seen uint64
	for {
		select {
		case <-k.quit:
			return
		case <-k.poke:
		case <-timer:
		}
		now := k.commits()
		busy := now != seen
		seen = now
		pause := dropPause
		if busy {
			pause = dropPauseBusy
		}
		timer = nil
		if k.maintain(busy) {
			timer = time.After(pause)
		}
	}
}

// maintain does what there is to do, and reports whether there is more of it.
func (k *files) maintain(busy bool) bool {
	k.indexRotated()
	k.prepareWanted()
	return k.dropSome(busy)
}

func (k *files) start() {
	k.wait.Go(k.runMaintainer)
	k.wakeMaintainer()
}

// stop ends the maintainer. What it had to do for rotated segments is done first.
func (k *files) stop() {
	close(k.quit)
	k.wait.Wait()
	k.indexRotated()
}

// close closes the files that are open beside the active one.
func (k *files) close() error {
	k.making.Lock()
	defer k.making.Unlock()
	if k.next != nil {
		_ = k.next.file.Close()
		k.next = nil
	}
	k.cache.close()
	return nil
}

// indexRotated writes the index of each segment that waits for it. One that
// cannot have it is read from front to back when it is needed.
func (k *files) indexRotated() {
	for {
		k.mu.Lock()
		if len(k.waiting) == 0 {
			if k.indexed != nil {
				close(k.indexed)
				k.indexed = nil
			}
			k.mu.Unlock()
			return
		}
		p := k.waiting[0]
		k.mu.Unlock()
		_ = k.writeIndex(p.file, p.seg)
		_ = p.file.Close()
		k.mu.Lock()
		info := p.seg.describe()
		p.seg.info.Lanes = info.Lanes
		p.seg.index = nil
		k.mu.Unlock()
		if k.tell != nil {
			k.tell(info)
		}
		k.mu.Lock()
		k.waiting = k.waiting[1:]
		k.mu.Unlock()
	}
}

// writeIndex writes the index of a segment that is no longer written, and the seal
// that leads to it. One sync for both: a seal whose index is not there is
// found out by the index's sum.
func (k *files) writeIndex(f vfs.File, s *segment) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if info, serr := f.Stat(); serr == nil { // it may have grown all the same
			k.resize(s, info.Size)
		}
	}()
	k.mu.Lock()
	p := s.index.encode(&s.info, s.compacted)
	end, size := s.info.End, s.info.Size
	generation := s.info.Generation
	k.mu.Unlock()
	if _, err := f.WriteAt(p, end); err != nil {
		return err
	}
	var sl [sealLen]byte
	seal{end, int64(len(p))}.put(sl[:], generation)
	if _, err := f.WriteAt(sl[:], sealAt); err != nil {
		return err
	}
	if !k.noSync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if grown := end + int64(len(p)); grown > size {
		k.resize(s, grown)
	}
	k.mu.Lock()
	s.info.Index = end
	k.mu.Unlock()
	return nil
}

func (k *files) prepareWanted() {
	k.mu.Lock()
	wanted := k.wanted
	k.wanted = false
	k.mu.Unlock()
	if !wanted {
		return
	}
	k.making.Lock()
	defer k.making.Unlock()
	if k.next != nil {
		return
	}
	// A failure comes again when the segment is needed, and is told then.
	if p, err := k.prepare(); err == nil {
		k.next = p
		k.nextSz.Store(p.seg.info.Size)
	}
}

// dropSome takes a step in giving a file back, and reports whether there is
// more to do.
func (k *files) dropSome(busy bool) bool {
	step := int64(dropStep)
	if busy {
		step = dropStepBusy
	}
	freed, more := k.dropOne(step)
	if freed && k.freed != nil {
		k.freed()
	}
	return more
}

func (k *files) dropOne(step int64) (freed, more bool) {
	k.dropping.Lock()
	defer k.dropping.Unlock()
	k.mu.Lock()
	if len(k.drops) == 0 {
		k.mu.Unlock()
		return false, false
	}
	d := k.drops[0]
	k.mu.Unlock()
	left := k.shorten(d, max(step, d.size/64)) // one that somebody made huge goes in as many steps
	k.mu.Lock()
	defer k.mu.Unlock()
	if left > 0 {
		k.drops[0].size = left
	} else {
		k.drops = k.drops[1:]
	}
	return true, len(k.drops) > 0
}

// dropCompaction removes what a compaction that was cut off has left, so that
// the maintainer does not take the next one's file for it.
func (k *files) dropCompaction(no uint64) error {
	k.dropping.Lock()
	defer k.dropping.Unlock()
	if err := k.fs.Remove(k.path(no, extNew)); err != nil && !vfs.Missing(err) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops = slices.DeleteFunc(k.drops, func(d unusedFile) bool {
		is := d.no == no && d.ext == extNew
		if is {
			k.disk.Add(-d.size)
		}
		return is
	})
	return nil
}

// shorten cuts an unused file, removes it when it is short, and says what is
// left. One that cannot be touched is let go: Open finds it again.
func (k *files) shorten(d unusedFile, step int64) (left int64) {
	name := k.path(d.no, d.ext)
	if d.size > step {
		f, err := k.fs.Open(name, vfs.ReadWrite)
		if err == nil {
			// The bytes of one that has another name are somebody else's as well.
			if err = vfs.Sole(f, name); err == nil {
				err = f.Truncate(d.size - step)
			}
			_ = f.Close()
		}
		if err == nil {
			k.disk.Add(-step)
			return d.size - step
		}
	}
	if k.fs.Remove(name) == nil {
		k.disk.Add(-d.size)
	}
	return 0
}

// freeUnused gives all unused files back at once.
func (k *files) freeUnused() (freed int64) {
	k.dropping.Lock()
	defer k.dropping.Unlock()
	k.mu.Lock()
	all := append(append([]unusedFile(nil), k.recycled...), k.drops...)
	k.recycled, k.drops = nil, nil
	k.mu.Unlock()
	for _, d := range all {
		k.shorten(d, d.size)
		freed += d.size
	}
	return freed
}

// recycle takes a segment's file out of the log for good.
func (k *files) recycle(no uint64, keepBelow int64) error {
	k.moving.Lock()
	defer k.moving.Unlock()
	k.mu.Lock()
	s := k.segs[no]
	if s == nil || s.index != nil {
		k.mu.Unlock()
		return ErrNoSegment
	}
	size := s.info.Size
	ext := extDrop
	if len(k.recycled) < k.maxRecycled && size <= keepBelow {
		ext = extRecycled
	}
	k.mu.Unlock()
	k.cache.drop(no)
	if k.bugs.keepSettled {
		return nil
	}
	if err := k.fs.Rename(k.path(no, extLog), k.path(no, ext)); err != nil && !vfs.Missing(err) {
		return err
	}
	if err := k.syncDir(); err != nil {
		return err
	}
	k.mu.Lock()
	delete(k.segs, no)
	if ext == extRecycled {
		k.recycled = append(k.recycled, unusedFile{no, ext, size})
	} else {
		k.drops = append(k.drops, unusedFile{no, ext, size})
	}
	k.mu.Unlock()
	k.wakeMaintainer()
	return nil
}
