package slogspool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kustospool/ingest"
)

var (
	// ErrDropped says that the queue is full and the record is dropped.
	ErrDropped = errors.New("slogspool: the queue is full, the log record is dropped")
	// ErrClosed says that the handler is closed and the record is dropped.
	ErrClosed = errors.New("slogspool: the handler is closed, the log record is dropped")
)

// rowTooLong is the size of a row over MaxRowBytes.
type rowTooLong int

func (n rowTooLong) Error() string { return fmt.Sprintf("slogspool: a row of %d bytes", int(n)) }

// Stats says what became of log records. Those that are neither stored, dropped
// nor Own are in the queue.
type Stats struct {
	Stored  int64 // on stable storage
	Dropped int64 // not stored, or by an unknown outcome of the spool not known to be
	Own     int64 // of the spool itself, not ingested
	Queued  int64 // not stored yet
	Err     error // of the spool, when it refused rows last
}

// queue holds the rows that are not stored yet. One goroutine, begun by newQueue and
// joined by close, stores them.
type queue struct {
	table Table
	limit int
	delay time.Duration

	ctx    context.Context // of the calls of the spool, until close gives up
	cancel context.CancelFunc

	first   chan struct{}      // there is a row
	now     chan struct{}      // do not wait for more of them
	flushes chan chan struct{} // each is closed when all before it is decided
	done    chan struct{}      // the goroutine has ended

	mu     sync.Mutex // guards what follows
	rows   [][]byte
	bytes  int // of rows, and of those being stored
	stats  Stats
	unsaid int64 // dropped, and no row tells of them
	closed bool
}

func newQueue(table Table, limit int, delay time.Duration) *queue {
	q := &queue{table: table, limit: limit, delay: delay,
		first: make(chan struct{}, 1), now: make(chan struct{}, 1), flushes: make(chan chan struct{}), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Write takes a row from the JSON handler, which writes each with one call.
func (q *queue) Write(line []byte) (int, error) {
	// A copy. A marshaller of the caller's may write what is no UTF-8.
	row := bytes.ToValidUTF8(bytes.TrimSuffix(line, []byte("\n")), []byte("\uFFFD"))
	if len(row) > MaxRowBytes {
		return 0, rowTooLong(len(row))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		q.drop(1)
		return 0, ErrClosed
	case q.bytes+len(row) > q.limit:
		q.drop(1)
		return 0, ErrDropped
	}
	q.rows = append(q.rows, row)
	q.bytes += len(row)
	q.stats.Queued++
	signal(q.first)
	if q.bytes > q.limit/2 {
		signal(q.now)
	}
	return len(line), nil
}

// drop counts; q.mu is held.
func (q *queue) drop(n int64) {
	q.stats.Dropped += n
	q.unsaid += n
}

func (q *queue) countOwn() {
	q.mu.Lock()
	q.stats.Own++
	q.mu.Unlock()
}

func (q *queue) snapshot() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}

// signal leaves a word for the goroutine; one that is there already will do.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) run() {
	defer close(q.done)
	for {
		var flushed chan struct{}
		select {
		case <-q.first:
			wait := time.NewTimer(q.delay)
			select {
			case <-wait.C:
			case <-q.now:
			case flushed = <-q.flushes:
			}
			wait.Stop()
		case <-q.now:
		case flushed = <-q.flushes:
		}
		q.mu.Lock()
		last := q.closed // no row comes after it
		q.mu.Unlock()
		q.store()
		if flushed != nil {
			close(flushed)
		}
		if last {
			return
		}
	}
}

// store stores all rows, with one more that tells of those dropped.
func (q *queue) store() {
	q.mu.Lock()
	rows, size, unsaid := q.rows, q.bytes, q.unsaid
	note := q.note()
	q.rows = nil
	q.mu.Unlock()
	n := int64(len(rows))
	if note != nil {
		rows = append(rows, note)
	}
	if len(rows) == 0 {
		return
	}
	stored, last, err := q.put(rows)
	told := last && note != nil
	if told {
		stored--
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= size
	q.stats.Queued -= n
	q.stats.Stored += stored
	q.drop(n - stored)
	if told {
		q.unsaid -= unsaid
	}
	if err != nil {
		q.stats.Err = err
	}
}

// put stores rows and says how many are, and whether the last one is. Where the spool
// refuses what it is given, the halves are tried, so that a row it cannot take costs
// no other row. err is the first refusal.
func (q *queue) put(rows [][]byte) (stored int64, last bool, err error) {
	_, err = q.table.IngestAll(q.ctx, rows)
	switch {
	case err == nil:
		return int64(len(rows)), true, nil
	case len(rows) == 1 || !errors.Is(err, ingest.ErrInvalid):
		return 0, false, err
	}
	half := len(rows) / 2
	a, _, err := q.put(rows[:half])
	b, last, err2 := q.put(rows[half:])
	return a + b, last, cmp.Or(err, err2)
}

// note is the row that tells of what was dropped, nil when nothing was; q.mu is
// held.
func (q *queue) note() []byte {
	if q.unsaid == 0 {
		return nil
	}
	var line bytes.Buffer
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records were dropped", 0)
	r.AddAttrs(slog.Int64("dropped", q.unsaid))
	if q.stats.Err != nil {
		r.AddAttrs(slog.Any("last_error", q.stats.Err))
	}
	// Writing to a buffer does not fail.
	_ = slog.NewJSONHandler(&line, &slog.HandlerOptions{ReplaceAttr: replace}).WithGroup("attrs").Handle(context.Background(), r)
	return bytes.TrimSuffix(line.Bytes(), []byte("\n"))
}

func (q *queue) flush(ctx context.Context) error {
	flushed := make(chan struct{})
	select {
	case q.flushes <- flushed:
	case <-q.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.now)
	select {
	case <-q.done:
	case <-ctx.Done():
		q.cancel()
		<-q.done
	}
	q.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.unsaid == 0:
		return nil
	case q.stats.Err != nil:
		return fmt.Errorf("slogspool: %d log records were dropped that no row tells of: %w", q.unsaid, q.stats.Err)
	}
	return fmt.Errorf("slogspool: %d log records were dropped that no row tells of", q.unsaid)
}
