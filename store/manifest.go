package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// manifest is the file of the books, and the goroutine that alone writes it.
// Changes wait in a queue; what waits when a commit ends is the next
// transaction, so that the ledger never stands in the way of an ack.
type manifest struct {
	// Immutable.
	s    *Store
	db   *bolt.DB
	path string

	// Owned by the goroutine, and by Open and Close while it does not run.
	state manifestState

	mu      sync.Mutex // guards all below
	queue   []*change
	stopped bool

	wake chan struct{}
	done sync.WaitGroup
}

// change is one entry of the queue.
type change struct {
	stage  func(*group) error
	joined atomic.Uint32 // 0 waiting, 1 part of a group, 2 given up by its caller
	err    error         // valid once done is closed
	done   chan struct{}
}

// manifestDB are the options of the manifest.
func (o *Options) manifestDB() *bolt.Options {
	return &bolt.Options{
		Timeout: o.LockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: o.NoSync, NoGrowSync: o.NoSync, InitialMmapSize: initialMap(64 << 20),
	}
}

const manifestGrowth = 128 << 10

func (m *manifest) start() {
	m.wake = make(chan struct{}, 1)
	m.done.Go(m.run)
}

// stop lets the queue run empty, ends the goroutine and joins it.
func (m *manifest) stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.signal()
	m.done.Wait()
}

func (m *manifest) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// do stages a change and waits until it is durable. When ctx ends while the
// change still waits it is not made; later, its outcome is waited for. stage
// runs on the manifest's goroutine; an error of its own must come before its
// first write and refuses this change only.
func (m *manifest) do(ctx context.Context, stage func(*group) error) error {
	c, err := m.post(stage)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.joined.CompareAndSwap(0, 2) {
			return ctx.Err()
		}
		<-c.done
	}
	return c.err
}

// post stages a change without waiting.
func (m *manifest) post(stage func(*group) error) (*change, error) {
	c := &change{stage: stage, done: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, ErrClosed
	}
	m.queue = append(m.queue, c)
	m.signal()
	return c, nil
}

func (m *manifest) run() {
	for range m.wake {
		m.mu.Lock()
		todo, stopped := m.queue, m.stopped
		m.queue = nil
		m.mu.Unlock()
		if len(todo) > 0 {
			m.commit(todo)
			m.signal()
		} else if stopped {
			return
		}
	}
}

// commit makes one transaction of the changes and answers each of them.
func (m *manifest) commit(todo []*change) {
	members := todo[:0]
	for _, c := range todo {
		if c.joined.CompareAndSwap(0, 1) {
			members = append(members, c)
		}
	}
	g, err := m.attempt(members)
	if errors.Is(err, ErrFull) && m.s.giveUpBallast() {
		g, err = m.attempt(members)
	}
	if err == nil {
		// The commit point is behind us; now others may see it.
		m.s.mu.Lock()
		for _, publish := range g.publishes {
			publish()
		}
		m.s.counters = g.counters
		m.s.mu.Unlock()
		m.state = g.state
		m.s.disk.measure(m.path)
		for _, after := range g.afters {
			after()
		}
	}
	for _, c := range members {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// attempt makes the transaction once. When it fails nothing of the group is
// visible, so that it may be made again.
func (m *manifest) attempt(members []*change) (*group, error) {
	g := &group{s: m.s, m: m, state: m.state, counters: m.s.counters,
		marks: map[uint32]laneMarks{}, entries: map[ingest.BatchID]*Entry{}, newLanes: map[string]*lane{}}
	if err := m.s.Err(); err != nil {
		return g, err
	}
	err := guard(func() error { return m.transact(g, members) })
	if errors.Is(err, errDamaged) {
		m.s.fail(err)
		if g.tx != nil && !abandon(g.tx) {
			m.s.unclosable.Store(true)
		}
		err = m.s.Err()
	}
	return g, err
}

func (m *manifest) transact(g *group, members []*change) error {
	tx, err := m.db.Begin(true)
	if err != nil {
		return m.s.fail(err)
	}
	g.tx = tx
	for _, c := range members {
		c.err = c.stage(g)
	}
	if g.err == nil && g.counters != m.s.counters {
		g.put(bktMeta, keyCounters, pack(&g.counters))
	}
	if g.err != nil {
		_ = tx.Rollback()
		g.tx = nil
		return m.s.fail(g.err)
	}
	if !g.dirty {
		g.tx = nil
		return tx.Rollback()
	}
	crashpoint.Reach("manifest.staged")
	err = commitTx(tx, m.path)
	g.tx = nil
	crashpoint.Reach("manifest.committed")
	var ce *commitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ce) && ce.space:
		return fmt.Errorf("%w: writing the manifest: %v", ErrFull, err)
	case errors.As(err, &ce) && ce.stored == no:
		return m.s.fail(err)
	}
	_ = m.s.fail(err)
	return fmt.Errorf("%w: writing the manifest: %v", ErrOutcomeUnknown, err)
}

// group is one transaction on the manifest in the making: what its changes
// read is the state with the earlier changes of the same group applied.
type group struct {
	s  *Store
	m  *manifest
	tx *bolt.Tx

	state    manifestState
	counters counters
	marks    map[uint32]laneMarks
	entries  map[ingest.BatchID]*Entry // nil: not live any more
	newLanes map[string]*lane

	dirty     bool
	err       error    // a failed write; the group cannot be committed
	publishes []func() // run under Store.mu once the commit is durable
	afters    []func() // run after that, without the lock
}

func (g *group) publish(fn func()) { g.publishes = append(g.publishes, fn) }
func (g *group) after(fn func())   { g.afters = append(g.afters, fn) }

func (g *group) put(bucket, key, value []byte) {
	g.dirty = true
	if g.err == nil {
		g.err = g.tx.Bucket(bucket).Put(key, value)
	}
}

func (g *group) del(bucket, key []byte) {
	g.dirty = true
	if g.err == nil {
		g.err = g.tx.Bucket(bucket).Delete(key)
	}
}

func (g *group) saveState() { g.put(bktMeta, keyState, pack(&g.state)) }

// entry is a live batch, as this group would leave it.
func (g *group) entry(id ingest.BatchID) *Entry {
	if e, ok := g.entries[id]; ok {
		return e
	}
	return g.s.entries[id]
}

// laneMarks is where a lane stands, as this group would leave it.
func (g *group) laneMarks(l *lane) laneMarks {
	if m, ok := g.marks[l.no]; ok {
		return m
	}
	g.s.mu.RLock()
	defer g.s.mu.RUnlock()
	return l.marks
}

func (g *group) setMarks(no uint32, m laneMarks) {
	g.marks[no] = m
	g.put(bktMarks, u32(no), pack(&m))
}

// manifestHead reads what tells whether this program may use the manifest.
func manifestHead(tx *bolt.Tx) (spool ingest.SpoolID, version uint32, err error) {
	meta := tx.Bucket(bktMeta)
	if meta == nil {
		return spool, 0, fmt.Errorf("%w: not a manifest", errDamaged)
	}
	id, v := meta.Get(keyIdentity), meta.Get(keyVersion)
	if len(id) != len(spool) || len(v) != 4 || bytes.Equal(id, spool[:]) {
		return spool, 0, fmt.Errorf("%w: manifest without identity or version", errDamaged)
	}
	copy(spool[:], id)
	return spool, binary.BigEndian.Uint32(v), nil
}
