package ledger

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/vfs"
	"kustospool/internal/wake"
)

// Ledger is an open ledger. Its methods may be called at the same time.
type Ledger struct {
	// Immutable.
	fs     vfs.FS
	path   string
	opts   Options
	db     *bolt.DB
	file   *os.File             // bbolt's
	commit func(*bolt.Tx) error // commitBolt, but for tests

	mu     sync.RWMutex // guards mirror, which the writer alone changes
	mirror mirror

	queueMu sync.Mutex // guards queue and stopped
	queue   []*change
	stopped bool

	wake wake.Signal
	done sync.WaitGroup

	failMu     sync.Mutex // guards failure
	failure    error
	flagged    atomic.Bool // the damage flag is there
	unclosable atomic.Bool // bbolt's locks may be held for good
	size       int64       // of the file; the writer's, and Open's before it
	written    atomic.Int64

	closing sync.RWMutex // held for reading by whoever reads the file
	closed  bool         // guarded by closing
}

// Options say how a ledger works. Zero values are the defaults.
type Options struct {
	// NoSync leaves out every fsync. For tests and throw-away spools.
	NoSync bool
	// LockTimeout bounds the wait for bbolt's lock of the file. Default 1 s.
	LockTimeout time.Duration
	// HistoryRetention and HistoryRows bound the rows of settled batches.
	// Defaults 7 days and 100,000 rows.
	HistoryRetention time.Duration
	HistoryRows      int
	// Clock is time.Now by default.
	Clock func() time.Time

	// What follows is called on the writer's goroutine, and must not wait for
	// the ledger; its readers of what is in memory may be called.

	// NoSpace is asked when a group found no room. When it has made some it
	// returns true, and the same group is tried once more.
	NoSpace func() bool
	// Failed is called once, with the cause, when the ledger fails.
	Failed func(error)
	// Settled is called for each batch that reached a final state, durably, in
	// the order of the changes. Not for one that was split.
	Settled func(Entry)
	// Size is called with the size of the file in bytes, by Open and when it
	// has changed.
	Size func(int64)
	// Step is called right before and right after each transaction becomes
	// durable, for tests that cut the power: a copy of the file taken at either
	// is what the disk would hold.
	Step func(Step)
	// Fault is asked right before a transaction is written and right after, for
	// tests: its error is that of the write.
	Fault func(Step) error
}

// Step is a moment in a transaction's life.
type Step int

// The steps.
const (
	Before Step = iota + 1 // the transaction is staged, the file as it was
	After                  // the transaction is durable, and nobody knows yet
)

const (
	defaultLockTimeout      = time.Second
	defaultHistoryRetention = 7 * 24 * time.Hour
	defaultHistoryRows      = 100_000
)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.LockTimeout <= 0 {
		c.LockTimeout = defaultLockTimeout
	}
	if c.HistoryRetention <= 0 {
		c.HistoryRetention = defaultHistoryRetention
	}
	if c.HistoryRows <= 0 {
		c.HistoryRows = defaultHistoryRows
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

func (l *Ledger) now() time.Time { return l.opts.Clock().UTC() }

// Err is nil, or why the ledger takes no changes any more: it matches
// ErrFailed, or is ErrClosed.
func (l *Ledger) Err() error {
	l.failMu.Lock()
	defer l.failMu.Unlock()
	return l.failure
}

// fail puts the ledger into its failed state and gives the error that says so.
func (l *Ledger) fail(cause error) error {
	l.failMu.Lock()
	if l.failure != nil {
		defer l.failMu.Unlock()
		return l.failure
	}
	l.failure = fmt.Errorf("%w: %w", ErrFailed, cause)
	err := l.failure
	l.failMu.Unlock()
	if l.opts.Failed != nil {
		l.opts.Failed(cause)
	}
	return err
}

// flagDamage leaves the flag that the next Open must not trust the file. What
// keeps the flag from being made is no worse than the damage itself.
func (l *Ledger) flagDamage() {
	if !l.flagged.Swap(true) {
		_ = putDamageFlag(l.fs, l.path, !l.opts.NoSync)
	}
}

// view runs fn in a read transaction, under guard. Damage that it finds leaves
// the damage flag.
func (l *Ledger) view(fn func(*bolt.Tx) error) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	err := guard(func() error { return l.db.View(fn) })
	if errors.Is(err, ErrDamaged) {
		l.flagDamage()
	}
	return err
}

// measure tells the size of the file when it has changed.
func (l *Ledger) measure() {
	info, err := l.file.Stat()
	if err != nil || info.Size() == l.size {
		return
	}
	l.size = info.Size()
	if l.opts.Size != nil {
		l.opts.Size(l.size)
	}
}

// Close lets the queue run empty, ends the writer and closes the file. Calls
// that come later get ErrClosed; a second Close is one of them.
func (l *Ledger) Close() error {
	l.queueMu.Lock()
	if l.stopped {
		l.queueMu.Unlock()
		return ErrClosed
	}
	l.stopped = true
	l.signal()
	l.queueMu.Unlock()
	l.done.Wait()

	l.closing.Lock()
	l.closed = true
	l.closing.Unlock()
	l.failMu.Lock()
	if l.failure == nil {
		l.failure = ErrClosed
	}
	l.failMu.Unlock()
	if l.unclosable.Load() {
		// bbolt would wait for its own locks. The map of the file stays until
		// the process ends; the lock goes with the file.
		return l.file.Close()
	}
	return guard(l.db.Close)
}
