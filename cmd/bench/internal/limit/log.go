package limit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"kustospool/internal/datasync"
	"kustospool/internal/wake"
)

// ErrClosed is returned by an Append that comes after Close.
var ErrClosed = errors.New("limit: the log is closed")

const (
	// groupBytes bounds one group, and so the memory of a Log: two such
	// buffers for each group in flight. A single larger record is a group of its own.
	groupBytes = 16 << 20

	// gatherTurns is how often a committer yields before it takes a group of
	// less than gatherRecords. The producers of the last group are on their
	// way back, and without it groups of one alternate with groups of the
	// rest; a lone producer loses nothing measurable.
	gatherTurns   = 3
	gatherRecords = 256

	// headBytes at the file's begin hold the commit record of the second sync.
	headBytes = 4096
)

// Options of a [Log].
type Options struct {
	// Syncs of each group: 1 is the limit, 2 the limit of a store with a meta
	// page, 0 the negative control, where an acknowledgement means nothing.
	Syncs int
	// Preallocate, where it is not 0, writes and syncs so many bytes of zeros
	// ahead, so that no commit makes the file grow. At least 64 MiB.
	Preallocate int64
	// InFlight is how many groups are written and synced at the same time.
	// 0 means 1; 2 is the pipelined form. With 2 syncs it must be 1.
	InFlight int
}

func (o *Options) validate() error {
	var errs []error
	if o.Syncs < 0 || o.Syncs > 2 {
		errs = append(errs, fmt.Errorf("limit: Syncs %d: must be 0, 1 or 2", o.Syncs))
	}
	if o.Preallocate != 0 && o.Preallocate < 4*groupBytes {
		errs = append(errs, fmt.Errorf("limit: Preallocate %d: must be at least %d", o.Preallocate, 4*groupBytes))
	}
	if o.InFlight < 0 || o.InFlight > 1 && o.Syncs == 2 {
		errs = append(errs, fmt.Errorf("limit: InFlight %d: must be positive, and 1 with two syncs", o.InFlight))
	}
	return errors.Join(errs...)
}

// Log is an append-only file with a group commit. Its methods may be called
// from many goroutines. It has one committer goroutine for each group in
// flight, started by Create and joined by Close.
type Log struct {
	// Immutable after Create.
	file *os.File
	opts Options

	wake       wake.Signal // a group became non-empty
	quit       chan struct{}
	committers sync.WaitGroup

	// mu guards what is below.
	mu     sync.Mutex
	open   *group   // collects what waits
	last   *group   // the one that was taken last
	spare  [][]byte // buffers of groups that are done
	offset int64    // of the next group in the file
	commit uint64   // groups taken
	err    error    // why nothing more is taken
}

// group is what one write takes. Only its committer uses it once it is taken,
// except for err, which those who wait read after done is closed.
type group struct {
	data    []byte
	records int
	offset  int64
	commit  uint64
	before  *group // acknowledged first
	done    chan struct{}
	err     error
}

// Create makes the file, which must not exist, and starts its committers.
func Create(path string, opts Options) (*Log, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts.InFlight = max(opts.InFlight, 1)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Log{file: file, opts: opts, wake: wake.New(), quit: make(chan struct{}), open: &group{done: make(chan struct{})}, offset: headBytes}
	if err := l.writeAhead(); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	for range opts.InFlight {
		l.committers.Go(l.run)
	}
	return l, nil
}

// writeAhead writes the head, and the zeros where they are wanted: space that
// is only reserved (fallocate) has unwritten extents, whose first write goes
// through the file system's journal just as growth does.
func (l *Log) writeAhead() error {
	zeros := make([]byte, 1<<20)
	if _, err := l.file.WriteAt(zeros[:headBytes], 0); err != nil {
		return err
	}
	for at := int64(headBytes); at < l.opts.Preallocate; at += int64(len(zeros)) {
		if _, err := l.file.WriteAt(zeros[:min(int64(len(zeros)), l.opts.Preallocate-at)], at); err != nil {
			return err
		}
	}
	return l.file.Sync()
}

// Append writes one record and returns when it is synced. ctx counts while the
// record waits for room in a group; after that its outcome is waited for.
// Errors: ErrClosed, ctx's, or the failure of this group or an earlier one.
func (l *Log) Append(ctx context.Context, data []byte) error {
	g, err := l.join(ctx, data)
	if err != nil {
		return err
	}
	<-g.done
	return g.err
}

// join adds the record to the open group, when that has room.
func (l *Log) join(ctx context.Context, data []byte) (*group, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.err != nil {
			defer l.mu.Unlock()
			return nil, l.err
		}
		g := l.open
		if g.records == 0 || len(g.data)+len(data) <= groupBytes {
			if g.data == nil && len(l.spare) > 0 {
				g.data = l.spare[len(l.spare)-1][:0]
				l.spare = l.spare[:len(l.spare)-1]
			}
			g.data = append(g.data, data...)
			g.records++
			first := g.records == 1
			l.mu.Unlock()
			if first {
				l.signal()
			}
			return g, nil
		}
		l.mu.Unlock()
		select {
		case <-g.done:
		case <-ctx.Done():
		}
	}
}

// signal says that the open group is not empty. When one signal waits already
// its receiver will find the group.
func (l *Log) signal() { l.wake.Raise() }

// run is a committer.
func (l *Log) run() {
	for {
		select {
		case <-l.wake:
		case <-l.quit:
			return
		}
		l.gather()
		if g := l.take(); g != nil {
			l.write(g)
		}
	}
}

func (l *Log) gather() {
	for range gatherTurns {
		l.mu.Lock()
		few := l.open.records < gatherRecords
		l.mu.Unlock()
		if !few {
			return
		}
		runtime.Gosched()
	}
}

// take closes the open group and gives it its place, nil when it is empty.
func (l *Log) take() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.open
	if g.records == 0 {
		return nil
	}
	l.open = &group{done: make(chan struct{})}
	if end := l.offset + int64(len(g.data)); l.opts.Preallocate > 0 && end > l.opts.Preallocate {
		l.offset = headBytes
	}
	l.commit++
	g.offset, g.commit, g.before = l.offset, l.commit, l.last
	l.offset += int64(len(g.data))
	l.last = g
	return g
}

// write makes a group durable and acknowledges it after the one before it.
func (l *Log) write(g *group) {
	g.err = l.sync(g)
	if g.before != nil {
		<-g.before.done
		if g.err == nil {
			g.err = g.before.err
		}
		g.before = nil
	}
	l.mu.Lock()
	if g.err != nil && l.err == nil {
		l.err = g.err
	}
	if cap(g.data) <= 2*groupBytes && len(l.spare) <= l.opts.InFlight {
		l.spare = append(l.spare, g.data)
	}
	g.data = nil
	l.mu.Unlock()
	close(g.done)
}

func (l *Log) sync(g *group) error {
	if _, err := l.file.WriteAt(g.data, g.offset); err != nil {
		return err
	}
	if l.opts.Syncs == 0 {
		return nil
	}
	if err := datasync.File(l.file); err != nil {
		return err
	}
	if l.opts.Syncs == 1 {
		return nil
	}
	var head [headBytes]byte
	binary.BigEndian.PutUint64(head[:], g.commit)
	binary.BigEndian.PutUint64(head[8:], uint64(g.offset)+uint64(len(g.data)))
	if _, err := l.file.WriteAt(head[:], 0); err != nil {
		return err
	}
	return datasync.File(l.file)
}

// Close joins the committers and closes the file, which stays. Appends that
// still wait get ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	if errors.Is(l.err, ErrClosed) {
		l.mu.Unlock()
		return nil
	}
	l.err = ErrClosed
	l.mu.Unlock()
	close(l.quit)
	l.committers.Wait()
	if g := l.take(); g != nil {
		g.err = ErrClosed
		close(g.done)
	}
	return l.file.Close()
}
