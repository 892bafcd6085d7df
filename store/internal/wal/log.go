package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"kustospool/internal/vfs"
	"kustospool/internal/wake"
)

// Log is an open write-ahead log. Its methods may be called from many
// goroutines. One process at a time may have it open: the lock is the caller's.
//
// Whoever set busy, a caller or the committer goroutine, alone writes the
// active segment. Locks are taken in the order mu, files.
type Log struct {
	opts Options
	fs   vfs.FS
	gate Gate

	// mu is the queue's lock, and guards what is below.
	mu         sync.Mutex
	lanes      map[uint32]*lane
	open       *group // takes what comes
	flight     *group // is being written
	busy       bool   // somebody commits, or is about to
	lone       bool   // and it is a caller, who hands on to the committer when done
	closing    bool
	err        error         // why nothing more is taken
	room       chan struct{} // closed when the open group is taken; nil while nobody waits
	drained    chan struct{} // closed when closing and nobody is busy
	last       int           // calls in the group that was taken last
	idle       []*group
	builds     []*frameBuild
	buildBytes int
	// Where the log will end, how large the file is, and about how large its
	// index would be, as far as the commits go that are done.
	end, size, index int64

	seed    atomic.Uint32 // of the active segment's checksums
	commits atomic.Uint64 // that are durable; the maintainer looks whether it moves

	w     writer
	files files
	look  bool // made by Look

	wake wake.Signal // for the committer
	quit chan struct{}
	wait sync.WaitGroup
}

// writer is the active segment as whoever commits knows it.
type writer struct {
	file      vfs.File
	seg       *segment
	end, size int64
	number    uint64 // of the last commit
	chain     uint32
	sealed    bool // it was closed, and not written to since: its index is right
	late      lateSync
}

// AddLane makes a lane known. One that Recovered has is known already, and adding
// it again changes nothing.
func (l *Log) AddLane(ln Lane) error {
	if ln.No == 0 || len(ln.Key) > MaxKeyBytes || ln.Separator < 0 || ln.Separator > 1<<20 || ln.Bytes < 0 {
		return fmt.Errorf("%w: lane %d with a key of %d bytes and separator %d", ErrInvalid, ln.No, len(ln.Key), ln.Separator)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[ln.No] == nil {
		l.addLane(ln)
	}
	return nil
}

func (l *Log) addLane(ln Lane) {
	next := max(ln.Next, 1)
	l.lanes[ln.No] = &lane{
		no: ln.No, key: ln.Key, separator: ln.Separator, next: next, bytes: ln.Bytes, durableNext: next, durableBytes: ln.Bytes,
		limit: FrameLimit{}.withDefaults(),
	}
}

func (f FrameLimit) withDefaults() FrameLimit {
	if f.Bytes <= 0 || f.Bytes > DefaultFrameBytes {
		f.Bytes = DefaultFrameBytes
	}
	if f.Records <= 0 || f.Records > MaxFrameRecords {
		f.Records = MaxFrameRecords
	}
	return f
}

// DropLane forgets a lane that Recovered told of and that nobody has use for. Its
// frames stay where they are.
func (l *Log) DropLane(no uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, no)
}

// SetLimit bounds the frames of a lane.
func (l *Log) SetLimit(no uint32, lim FrameLimit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[no]
	if ln == nil {
		return fmt.Errorf("%w %d", ErrNoLane, no)
	}
	ln.limit = lim.withDefaults()
	return nil
}

// fail ends the log. The first reason stays. A failure while Close waits for
// the commits under way is one too.
func (l *Log) fail(err error) error {
	if !errors.Is(err, ErrFailed) {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.mu.Lock()
	first := l.err == nil || errors.Is(l.err, ErrClosed)
	if first {
		l.err = err
	}
	l.mu.Unlock()
	if first && l.opts.Failed != nil {
		l.opts.Failed(err)
	}
	return err
}

// Rotate makes the next commit begin a new segment, if the active one has any
// commit, and returns once the old one's index is durable and Rotated was called.
func (l *Log) Rotate() error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	l.open.rotate = true
	l.open.calls++
	if err := l.joined(l.open); err != nil {
		return err
	}
	return l.files.waitIndexed()
}

// Close commits what waits, writes the active segment's index so that it needs
// not be read when it is opened, and ends the log's goroutines. The LogEnd is where
// the log ends.
func (l *Log) Close() (LogEnd, error) {
	if l.look {
		return LogEnd{}, l.files.close()
	}
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return LogEnd{}, ErrClosed
	}
	l.closing = true
	failed := l.err
	if l.err == nil {
		l.err = ErrClosed
	}
	if l.busy {
		l.drained = make(chan struct{})
		drained := l.drained
		l.mu.Unlock()
		l.signal()
		<-drained
		l.mu.Lock()
		if failed == nil && !errors.Is(l.err, ErrClosed) {
			failed = l.err
		}
	}
	l.mu.Unlock()
	close(l.quit)
	l.wait.Wait()
	l.files.stop()
	w := &l.w
	err := failed
	if err == nil && w.seg.index.frames > 0 && !w.sealed {
		// On a full volume the segment has none, and is read when it is opened.
		if err = l.files.writeIndex(w.file, w.seg); vfs.NoSpace(err) {
			err = nil
		}
	}
	mark := LogEnd{No: w.seg.info.No, Generation: w.seg.info.Generation, End: w.end, Commit: w.number}
	return mark, errors.Join(err, w.file.Close(), l.files.close())
}
