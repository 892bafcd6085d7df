package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/crashpoint"
	"kustospool/internal/datasync"
)

const (
	// Buffers kept for reuse: a few for large frames, and for commits of many
	// lanes many for small ones; so many, and up to this size.
	largeKept   = 16
	largeBuffer = 2 << 20
	smallKept   = 1 << 10
	smallBuffer = 4 << 10
)

// committer owns the active segment and alone writes it. Whatever waits when
// a commit ends is the next group.
type committer struct {
	s *Store

	// Owned by the goroutine, and by Open and Close while it does not run.
	active   *segment
	db       *bolt.DB
	file     *os.File // the database's, for syncs of our own
	tally    tally    // of what the active segment holds
	fileSize int64
	high     int64           // bytes of the file in use
	staged   tally           // of what it will hold with the transaction under way
	lastTxid uint64          // of the last commit
	known    map[uint32]bool // lanes that the active segment has a snapshot of
	group    []*waiter       // members of the commit under way
	last     int             // how many the last group had
	builds   []*laneBuild
	keys     map[keyHash]uint64
	frames   []Frame
	objects  []object // that frames refer to
	loose    []looseFrame
	lent     [][]byte // buffers that the transaction refers to
	large    [][]byte // buffers to be used again
	small    [][]byte
	idle     []*laneBuild

	mu      sync.Mutex // guards all below
	queue   []*cohort  // in the order of their commits; the last one takes more
	drain   bool
	stopped bool

	wake chan struct{}
	done sync.WaitGroup
}

// laneBuild is one lane in the group commit under way.
type laneBuild struct {
	lane    *lane
	next    uint64
	bytes   int64
	limit   FrameLimit
	builder frameBuilder
}

func (c *committer) start() {
	c.wake = make(chan struct{}, 1)
	c.keys = map[keyHash]uint64{}
	c.done.Go(c.run)
}

// stop refuses new records, commits what waits, ends the goroutine and joins it.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.signal()
	c.done.Wait()
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// giveBack asks for a rotation because everything is settled.
func (c *committer) giveBack() {
	c.mu.Lock()
	c.drain = true
	c.mu.Unlock()
	c.signal()
}

func (c *committer) run() {
	for {
		c.pause()
		c.gather()
		next, drain, stopped := c.take()
		if next == nil {
			if stopped {
				return
			}
			if drain {
				c.rotateIdle()
			}
			if c.last == 1 {
				c.last = 0 // a lone producer, if it comes back, finds nobody to wait for
			}
			<-c.wake
			continue
		}
		c.last = len(next.waiters)
		c.commit(next.waiters)
		close(next.done)
	}
}

// commit makes one transaction of the waiters' records and gives each of them
// its outcome.
func (c *committer) commit(ws []*waiter) {
	c.rotateFull()
	c.admit(ws)
	if len(c.group) == 0 {
		return
	}
	err := c.s.Err()
	if err == nil {
		var tx *bolt.Tx
		err = guard(func() error { return c.write(&tx) })
		if errors.Is(err, errDamaged) {
			err = c.s.fail(err)
			if tx != nil && !abandon(tx) {
				c.s.unclosable.Store(true)
			}
		}
	}
	if err == nil && len(c.frames) > 0 {
		c.publish()
	}
	for _, w := range c.group {
		w.err = err
	}
	c.reset()
}

// admit takes the waiters that have not given up, and for which there is room.
func (c *committer) admit(ws []*waiter) {
	// What a commit takes beside the data: half-filled pages and the pages
	// above them, the free list, and for each record its length and, at worst,
	// a frame of its own.
	need := int64(16 << 10)
	for _, w := range ws {
		if !w.joined.CompareAndSwap(0, 1) {
			c.s.waiters.put(w)
			continue
		}
		more := need + w.bytes + w.bytes/16 + int64(len(w.recs))*(frameHeaderLen+64)
		if grow := c.high + more - c.fileSize; grow > 0 && !c.s.fits(grow) {
			w.err = ErrFull
			continue
		}
		need = more
		c.group = append(c.group, w)
	}
}

func (c *committer) reset() {
	for _, b := range c.builds {
		c.keep(b.builder.buf)
		b.lane.build = nil
		*b = laneBuild{}
		if len(c.idle) < smallKept {
			c.idle = append(c.idle, b)
		}
	}
	for _, b := range c.lent {
		c.keep(b)
	}
	clear(c.keys)
	clear(c.group)
	clear(c.builds)
	clear(c.lent)
	c.objects = c.objects[:0]
	clear(c.loose)
	c.group, c.builds, c.lent, c.frames, c.loose = c.group[:0], c.builds[:0], c.lent[:0], c.frames[:0], c.loose[:0]
}

// keep takes a buffer for reuse.
func (c *committer) keep(b []byte) {
	switch n := cap(b); {
	case n == 0:
	case n <= smallBuffer && len(c.small) < smallKept:
		c.small = append(c.small, b)
	case n > smallBuffer && n <= largeBuffer && len(c.large) < largeKept:
		c.large = append(c.large, b)
	}
}

// buffer gives one that was kept, fit for about size bytes; nil when there is none.
func (c *committer) buffer(size int) (b []byte) {
	from := &c.large
	if size <= smallBuffer {
		from = &c.small
	}
	if n := len(*from); n > 0 {
		b, *from = (*from)[n-1], (*from)[:n-1]
	}
	return b
}

// write builds the frames and commits them. The records are on stable storage
// when it returns nil.
func (c *committer) write(open **bolt.Tx) error {
	tx, err := c.db.Begin(true)
	if err != nil {
		return c.s.fail(err)
	}
	*open = tx
	now := time.Now()
	c.staged = c.tally
	err = c.stage(tx, now)
	if err == nil && len(c.frames) > 0 {
		err = c.staged.put(tx)
	}
	if err != nil || len(c.frames) == 0 {
		*open = nil
		_ = tx.Rollback()
		return err
	}
	txid := uint64(tx.ID())
	crashpoint.Reach("append.staged")
	err = commitTx(tx, c.active.path)
	*open = nil
	if err == nil {
		crashpoint.Reach("append.written")
		err = c.sync()
	}
	crashpoint.Reach("append.committed")
	var ce *commitError
	switch {
	case err == nil:
		c.lastTxid, c.tally = txid, c.staged
		c.db.NoSync = true
		return nil
	case errors.As(err, &ce) && ce.space:
		c.db.NoSync = c.s.opts.NoSync
		c.measure()
		return fmt.Errorf("%w: %v", ErrFull, err)
	case errors.As(err, &ce) && ce.stored == no:
		return c.s.fail(err)
	}
	_ = c.s.fail(err)
	return fmt.Errorf("%w: %v", ErrOutcomeUnknown, err)
}

// stage puts the group's records into the transaction.
func (c *committer) stage(tx *bolt.Tx, now time.Time) error {
	before := now.Add(-c.s.opts.KeyRetention).UnixNano()
	for _, w := range c.group {
		for i := range w.recs {
			r := &w.recs[i]
			b := c.build(r.Lane)
			if r.object != nil {
				if err := c.refer(tx, b, r.object, now); err != nil {
					return err
				}
				w.out[i] = Appended{Seq: b.next - uint64(r.object.records)}
				continue
			}
			if r.Key != "" {
				h := hashKey(c.s.id, r.Lane, r.Key)
				seq, ok := c.keys[h]
				if !ok {
					var err error
					if seq, ok, err = c.findKey(tx, r.Lane, h, before); err != nil {
						return err
					}
				}
				if ok {
					w.out[i] = Appended{Seq: seq, Duplicate: true}
					continue
				}
				c.keys[h] = b.next
				if err := c.putKey(tx, h, keyValue(r.Lane, b.next, now.UnixNano())); err != nil {
					return err
				}
			}
			if b.builder.h.count > 0 && !b.builder.room(len(r.Data), b.limit) {
				if err := c.finish(tx, b, now); err != nil {
					return err
				}
			}
			if b.builder.h.count == 0 {
				b.builder.start(c.buffer(b.lane.frame), b.lane.no, b.next, b.bytes)
			}
			b.builder.add(r.Data, b.lane.separator)
			b.bytes += int64(len(r.Data)) + b.lane.separator
			w.out[i] = Appended{Seq: b.next}
			b.next++
		}
	}
	for _, b := range c.builds {
		if b.builder.h.count > 0 {
			if err := c.finish(tx, b, now); err != nil {
				return err
			}
		}
	}
	return c.putLoose(tx)
}

// putKey enters a key, in the place of one that has expired.
func (c *committer) putKey(tx *bolt.Tx, h keyHash, value []byte) error {
	keys := tx.Bucket(bktKeys)
	if old := keys.Get(h[:]); old != nil {
		c.staged.remove(ofKey, h[:], old)
	}
	c.staged.add(ofKey, h[:], value)
	return keys.Put(h[:], value)
}

// build is a lane's part of the group; it is made at the lane's first record.
func (c *committer) build(no uint32) *laneBuild {
	// Most groups have one lane, and most neighbours the same one.
	if n := len(c.builds); n > 0 && c.builds[n-1].lane.no == no {
		return c.builds[n-1]
	}
	l := c.s.lanes.get(no)
	if l.build != nil {
		return l.build
	}
	if n := len(c.idle); n > 0 {
		l.build, c.idle = c.idle[n-1], c.idle[:n-1]
	} else {
		l.build = new(laneBuild)
	}
	*l.build = laneBuild{lane: l, next: l.next, bytes: l.bytes, limit: *l.limit.Load()}
	c.builds = append(c.builds, l.build)
	return l.build
}

// finish completes the frame under way.
func (c *committer) finish(tx *bolt.Tx, b *laneBuild, now time.Time) error {
	if c.s.opts.Compression == S2 {
		var free []byte
		b.builder.buf, free = b.builder.compress(c.buffer(len(b.builder.buf)))
		c.keep(free)
	}
	value := b.builder.finish(c.s.id, now.UnixNano())
	f := b.builder.h.frame()
	b.builder = frameBuilder{}
	return c.put(tx, b.lane, f, value)
}

// refer puts a frame that refers to an object into the transaction.
func (c *committer) refer(tx *bolt.Tx, b *laneBuild, o *Object, now time.Time) error {
	if b.builder.h.count > 0 {
		if err := c.finish(tx, b, now); err != nil {
			return err
		}
	}
	value, h := o.frame(c.s.id, b.lane.no, b.next, b.bytes, now.UnixNano(), c.buffer(frameHeaderLen))
	b.next += uint64(h.count)
	b.bytes += h.bytes
	c.objects = append(c.objects, object{id: o.id, lane: b.lane.no, span: span{h.first, h.last()}})
	return c.put(tx, b.lane, h.frame(), value)
}

// put puts a complete frame into the transaction; a small one waits for putLoose.
func (c *committer) put(tx *bolt.Tx, l *lane, f Frame, value []byte) error {
	if !c.known[l.no] {
		if err := c.putSnapshot(tx, l); err != nil {
			return err
		}
	}
	c.staged.addFrame(value)
	c.lent = append(c.lent, value)
	c.frames = append(c.frames, f)
	// The lane's next frame is likely as large; the last of several is not.
	l.frame = max(len(value), l.frame-l.frame/8)
	if len(value) < sheafBelow {
		c.loose = append(c.loose, looseFrame{f.Lane, f.First, value})
		return nil
	}
	return putFrame(tx, f.Lane, f.First, value)
}

// putSnapshot records where a lane stands.
func (c *committer) putSnapshot(tx *bolt.Tx, l *lane) error {
	lanes := tx.Bucket(bktLanes)
	value := pack(&laneSnapshot{Key: l.key, High: l.next - 1, Bytes: l.bytes})
	if old := lanes.Get(u32(l.no)); old != nil {
		c.staged.remove(ofLane, u32(l.no), old) // a lane's second frame in one transaction
	}
	c.staged.add(ofLane, u32(l.no), value)
	return lanes.Put(u32(l.no), value)
}

// sync makes a written transaction durable. See tally.go. One that cannot be
// synced is taken back, as far as this boot goes: the system may have dropped
// its pages, and still shows them to who opens the file and builds on them.
// Whether it is on the disk only a restart of the machine would tell.
func (c *committer) sync() error {
	if c.s.opts.NoSync {
		return nil
	}
	if err := datasync.File(c.file); err != nil {
		return &commitError{stored: unknown, err: errors.Join(err, takeBack(c.db.Path()))}
	}
	return nil
}

// publish brings the mirror of the books up to a commit that is durable.
func (c *committer) publish() {
	s := c.s
	for _, b := range c.builds {
		if b.next > b.lane.next {
			b.lane.next, b.lane.bytes = b.next, b.bytes
			c.known[b.lane.no] = true
		}
	}
	s.mu.Lock()
	for i := range c.frames {
		s.addFrameLocked(c.active, &c.frames[i])
	}
	for i := range c.objects {
		s.addObjectLocked(c.objects[i])
	}
	for _, b := range c.builds {
		b.lane.marks.Bytes = b.bytes
	}
	if len(c.keys) > 0 {
		c.active.keys = true
	}
	s.mu.Unlock()
	c.measure()
	if s.opts.Committed != nil {
		s.opts.Committed(c.frames)
	}
}

// addFrameLocked enters a frame into the mirror.
func (s *Store) addFrameLocked(seg *segment, f *Frame) {
	l := s.lanes.get(f.Lane)
	l.marks.High = f.Last
	if n := len(l.segs); n > 0 && l.segs[n-1].seg == seg {
		l.segs[n-1].Last = f.Last
	} else {
		l.segs = append(l.segs, held{seg: seg, span: span{f.First, f.Last}})
	}
	r, ok := seg.lanes[f.Lane]
	if !ok {
		r.First = f.First
	}
	r.Last = f.Last
	seg.lanes[f.Lane] = r
	seg.live += f.Records()
	s.unsettled += f.Records()
	l.ages.add(f.Last, f.At)
}

// measure learns how far the active file is used, and how large it is.
func (c *committer) measure() {
	if tx, err := c.db.Begin(false); err == nil {
		c.high = tx.Size()
		_ = tx.Rollback()
	}
	if c.high >= c.fileSize {
		c.s.disk.measure(c.active.path)
		c.fileSize = c.s.disk.size(c.active.path)
	}
}
