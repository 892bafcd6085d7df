package wal

import (
	"errors"
	"fmt"
	"time"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

var zeros [zeroStep]byte

// commit makes a group durable and sets its err. The caller was the one who
// became busy.
func (l *Log) commit(g *group) {
	g.err = l.tryCommit(g)
	if g.err == nil {
		return
	}
	for _, b := range g.frames {
		if b.lane.definedIn == l.w.seg.info.No && !l.w.seg.defines(b.lane.no) {
			b.lane.definedIn = 0
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Those who came meanwhile have numbers behind those that were refused,
	// and may have been told of keys in them: they are refused too.
	// Who comes now, before those have their answers, must find none of it.
	o := l.open
	l.open, l.flight = l.newGroup(), nil
	if !l.opts.bugs.keepStaged {
		g.takeBack()
		o.takeBack()
	}
	if o.calls > 0 {
		o.err = g.err
		if l.err != nil && !errors.Is(l.err, ErrClosed) {
			o.err = l.err
		}
	}
	l.done(o)
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

// takeBack sets the lanes of a refused group to what is durable.
func (g *group) takeBack() {
	for _, b := range g.frames {
		b.lane.build = nil
		b.lane.next, b.lane.bytes = b.lane.durableNext, b.lane.durableBytes
	}
}

func (l *Log) tryCommit(g *group) error {
	w := &l.w
	if g.rotate && w.seg.info.LastCommit > 0 || !g.empty() && l.full(g) {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if g.empty() {
		return nil
	}
	if w.number >= maxCommitNo {
		return l.fail(fmt.Errorf("%w for a commit", ErrExhausted))
	}
	began := time.Now()
	now := began.UnixNano()
	l.extras(g, now)
	length, h := g.seal(commitHeader{
		generation: w.seg.info.Generation, segment: w.seg.info.No, number: w.number + 1, at: now, chain: w.chain,
	}, l.opts.Spool, l.opts.Compress)
	crashpoint.Reach("wal.sealed")
	size, err := l.write(g, length)
	if err != nil {
		return err
	}
	crashpoint.Reach("wal.written")
	written := time.Now()
	if err := l.sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, l.fail(err))
	}
	crashpoint.Reach("wal.synced")
	switch n, err := links(w.file); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnknown, l.fail(err))
	case n == 0:
		return l.fail(errors.New("the active segment was removed"))
	}
	done := time.Now()
	g.commit.Took, g.commit.Synced = done.Sub(began), done.Sub(written)
	l.publish(g, &h, length, size, now)
	return nil
}

// links is how many names lead to a file, -1 where nobody can tell.
func links(f vfs.File) (int, error) {
	if f, ok := f.(interface{ Links() (int, error) }); ok {
		return f.Links()
	}
	info, err := f.Stat()
	return info.Links, err
}

// full reports whether the group belongs into another segment. Room for the
// index is counted, so that a recycled file keeps its size.
func (l *Log) full(g *group) bool {
	x := l.w.seg.index
	if l.w.seg.info.LastCommit == 0 {
		return false
	}
	return l.w.end+g.size+x.grow() > l.opts.SegmentBytes || x.frames >= maxIndexed || x.full
}

// extras collects what the commit holds beside frames.
func (l *Log) extras(g *group, now int64) {
	no := l.w.seg.info.No
	p := g.extras[:0]
	for _, b := range g.frames {
		if b.lane.definedIn != no {
			b.lane.definedIn = no
			p = appendLane(p, b.lane.no, b.lane.separator, b.lane.key)
		}
	}
	for i := range g.keys {
		g.keys[i].At = now
	}
	p = appendKeys(p, g.keys)
	for i := range g.pos {
		p = appendPosition(p, &g.pos[i])
	}
	g.extras = p
}

func (l *Log) sync() error {
	if l.opts.NoSync || l.opts.bugs.skipSync {
		return nil
	}
	if l.opts.bugs.ackBeforeSync {
		// The one before is synced, and nobody waits for this one's.
		err := l.w.late.sync()
		l.w.late = lateSync{l.w.file}
		return err
	}
	return l.w.file.Sync()
}

// write writes the commit, and zeros behind it: to the end of the page, so
// that the next commit begins in a page that is in memory and no old bytes
// stand right behind this one; and on fresh space further, so that the next
// commits do not make the file grow. It returns the file's size.
func (l *Log) write(g *group, length int) (int64, error) {
	w := &l.w
	end := w.end + int64(length)
	to := roundUp(end, blockBytes)
	if to > w.size {
		if to = end; int64(length) <= zeroStep && !g.bare {
			to = max(min(roundUp(end, zeroStep), l.opts.SegmentBytes), end)
		}
	}
	for {
		err := l.writeVec(g, int(to-end))
		if err == nil {
			return max(w.size, to), nil
		}
		back := l.cutBack()
		if !vfs.NoSpace(err) {
			err = l.fail(err)
			if back != nil {
				err = fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			return 0, err
		}
		if back != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnknown, l.fail(back))
		}
		if to == end {
			return 0, fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		to = end // without the zeros it may fit
	}
}

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// writeVec writes the sealed commit and so many zeros.
func (l *Log) writeVec(g *group, pad int) error {
	w := &l.w
	if len(g.vec) == 1 {
		n := len(g.vec[0])
		g.main = append(g.main[:n], zeros[:pad]...)
		_, err := w.file.WriteAt(g.main, w.end)
		g.main = g.main[:n]
		return err
	}
	vec := g.vec
	if pad > 0 {
		vec = append(vec, zeros[:pad])
		g.vec = vec[:len(vec)-1]
	}
	if v, ok := w.file.(vfs.VectorWriter); ok {
		_, err := v.WriteVAt(vec, w.end)
		return err
	}
	off := w.end
	for _, p := range vec {
		if _, err := w.file.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// cutBack takes away what a failed write may have left, so that a refused
// commit does not come back.
func (l *Log) cutBack() error {
	w := &l.w
	err := w.file.Truncate(w.end)
	if err == nil && !l.opts.NoSync {
		err = w.file.Sync()
	}
	if err == nil {
		l.files.resize(w.seg, w.end)
		w.size, w.sealed = w.end, false // an index that was there is cut off
		l.mu.Lock()
		l.size = w.size
		l.mu.Unlock()
	}
	return err
}

// publish brings what is in memory up to a commit that is durable.
func (l *Log) publish(g *group, h *commitHeader, length int, size, now int64) {
	w := &l.w
	off := w.end
	w.end, w.number, w.chain, w.sealed = w.end+int64(length), h.number, h.sum, false
	c := &g.commit
	c.Segment, c.Number, c.At = w.seg.info.No, h.number, now
	c.Frames = c.Frames[:0]
	for i := range g.refs {
		g.refs[i].Segment = w.seg.info.No
	}
	l.files.publish(w.seg, g, h, off, w.end)
	if size != w.size {
		l.files.resize(w.seg, size)
		w.size = size
	}
	l.mu.Lock()
	for _, b := range g.frames {
		if f := b.h.frame(); f.Last >= b.lane.durableNext {
			b.lane.durableNext, b.lane.durableBytes = f.Last+1, f.Before+f.Bytes
		}
	}
	l.end, l.size, l.index = w.end, w.size, w.seg.index.grow()
	l.mu.Unlock()
	l.commits.Add(1)
	c.Keys, c.Positions, c.Refs = g.keys, g.pos, g.refs
	if l.opts.Committed != nil {
		l.opts.Committed(c)
	}
	if w.end > l.opts.SegmentBytes/2 {
		l.files.wantNext()
	}
}

// rotate makes a new segment the active one.
func (l *Log) rotate() error {
	next, err := l.files.takeNext()
	if vfs.NoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return l.fail(err)
	}
	crashpoint.Reach("wal.rotating")
	w := &l.w
	if w.seg.info.LastCommit > 0 {
		l.files.rotated(w.seg, w.file)
	}
	l.activate(next)
	return nil
}

// activate makes a new segment the one that is written.
func (l *Log) activate(next *prepared) {
	w := &l.w
	w.file, w.seg, w.end, w.size, w.sealed = next.file, next.seg, headBytes, next.seg.info.Size, false
	l.seed.Store(seedOf(next.seg.info.Generation))
	l.files.activate(next.seg)
	l.mu.Lock()
	l.end, l.size, l.index = w.end, w.size, 0
	l.mu.Unlock()
}
