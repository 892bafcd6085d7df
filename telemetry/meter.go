package telemetry

import (
	"maps"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
)

const (
	// DefaultMaxTables is how many tables have series of their own.
	DefaultMaxTables = 200
	// Other is the table, and its database, of what is beyond that.
	Other = "other"

	maxFigures  = 100 // of a transport
	maxOutcomes = 32  // of attempts; a transport's classes are far fewer
)

// Options of a [Meter]. Nil, and zero fields, mean the defaults.
type Options struct {
	// Spool is the value of the label "spool", to tell the spools of one program
	// apart. Default: the spool's ID.
	Spool string
	// MaxTables is how many tables have series of their own, those that were used
	// first. Default 200; negative: none.
	MaxTables int
}

// Source gives snapshots: an [engine.Spool], or an [engine.View].
type Source interface {
	Stats() engine.Stats
}

// Meter collects the values of all instruments of one spool. It is the spool's
// [engine.Observer], or one of [Observers]. Its methods may be called by many
// goroutines.
type Meter struct {
	options   Options
	version   string
	mu        sync.Mutex // guards what is below; held for memory only
	source    Source
	spool     string // its name
	sums      sums
	ownTables map[tableKey]bool
}

// New makes a meter. It has no values until Watch.
func New(o *Options) *Meter {
	m := &Meter{version: moduleVersion(), ownTables: make(map[tableKey]bool)}
	if o != nil {
		m.options = *o
	}
	m.spool = m.options.Spool
	if m.options.MaxTables == 0 {
		m.options.MaxTables = DefaultMaxTables
	}
	m.sums.init()
	return m
}

// Watch says where snapshots are from. It is called once the spool is open, before
// its first record: from here on the meter knows the spool's name, which events tell
// only a moment later.
func (m *Meter) Watch(s Source) {
	name := s.Stats().Spool.String()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source = s
	if m.spool == "" {
		m.spool = name
	}
}

// sums are what is known from events.
type sums struct {
	calls, commits, syncs, room Buckets
	attempts, deliveries        map[string]*Buckets
	ended                       map[string]int64
	results                     map[resultKey]int64
	folded                      int64
}

type tableKey = engine.TableName

// others is the table that those without series of their own are added up as.
var others = tableKey{Database: Other, Table: Other}

type resultKey struct {
	table  tableKey
	result string
}

func (s *sums) init() {
	for _, b := range []*Buckets{&s.calls, &s.commits, &s.syncs, &s.room} {
		*b = newBuckets(callBounds)
	}
	s.attempts, s.deliveries = make(map[string]*Buckets), make(map[string]*Buckets)
	s.ended, s.results = make(map[string]int64), make(map[resultKey]int64)
}

// clone is what a collection reads while events go on.
func (s *sums) clone() sums {
	out := *s
	for _, b := range []*Buckets{&out.calls, &out.commits, &out.syncs, &out.room} {
		*b = b.clone()
	}
	out.attempts, out.deliveries = cloneAll(s.attempts), cloneAll(s.deliveries)
	out.ended, out.results = maps.Clone(s.ended), maps.Clone(s.results)
	return out
}

// Observe implements [engine.Observer].
func (m *Meter) Observe(ev engine.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.sums
	switch ev := ev.(type) {
	case engine.Recovered:
		if m.spool == "" {
			m.spool = ev.Stats.Spool.String()
		}
	case engine.RecordsAcked:
		s.commits.merge(&ev.Commit)
		s.syncs.merge(&ev.Sync)
	case engine.CallsReturned:
		s.calls.merge(&ev.Took)
	case engine.WaitedForRoom:
		s.room.add(ev.Took)
	case engine.AttemptEnded:
		outcome := m.outcomeLocked(ev.Outcome)
		s.ended[outcome]++
		bucketsOf(s.attempts, outcome, attemptBounds).add(ev.Took)
	case engine.BatchSettled:
		result := ResultOf(ev.State)
		s.results[resultKey{m.tableLocked(tableKey{Database: ev.Batch.Properties.Database, Table: ev.Batch.Properties.Table}), result}] += ev.Batch.Records()
		if ev.Took > 0 {
			bucketsOf(s.deliveries, result, deliveryBounds).add(ev.Took)
		}
	case engine.EventsFolded:
		s.folded += ev.Events
		s.commits.merge(&ev.Commit)
		s.syncs.merge(&ev.Sync)
		for outcome, n := range ev.AttemptsEnded {
			s.ended[m.outcomeLocked(outcome)] += n
		}
	}
}

// Spool is the value of the label "spool"; empty before the spool is open.
func (m *Meter) Spool() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spool
}

// Version is that of this module in the program; "unknown" where the program does
// not tell.
func (m *Meter) Version() string { return m.version }

// Outcome is the value of the label "outcome" for an attempt's: itself, or "other"
// beyond the first 32 different ones.
func (m *Meter) Outcome(outcome string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outcomeLocked(outcome)
}

// outcomeLocked bounds the outcomes, which have a transport's words in them.
func (m *Meter) outcomeLocked(outcome string) string {
	if _, known := m.sums.ended[outcome]; known || len(m.sums.ended) < maxOutcomes {
		return outcome
	}
	return Other
}

// tableLocked is the table itself, if it is one of those with series of their own.
func (m *Meter) tableLocked(t tableKey) tableKey {
	if m.ownTables[t] {
		return t
	}
	if len(m.ownTables) >= m.options.MaxTables {
		return others
	}
	m.ownTables[t] = true
	return t
}

// ResultOf is a final state as the label "result" has it.
func ResultOf(s ingest.State) string {
	switch s {
	case ingest.Succeeded:
		return "ingested"
	case ingest.Skipped:
		return "skipped"
	case ingest.HandedOver:
		return "handed_over"
	case ingest.DeadLettered:
		return "dead_lettered"
	case ingest.Dropped:
		return "dropped"
	}
	return s.String()
}

// Observers hands each event to several observers, in order.
type Observers []engine.Observer

// Observe implements [engine.Observer].
func (o Observers) Observe(ev engine.Event) {
	for _, to := range o {
		to.Observe(ev)
	}
}

// moduleVersion is this module's, as the program was built with it.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range append(info.Deps, &info.Main) {
		if dep.Path == "kustospool" && dep.Version != "" {
			return dep.Version
		}
	}
	return "unknown"
}

// adder takes one value, with the values of the instrument's labels.
type adder = func(v float64, labels ...string)

// reading is what a collection reads.
type reading struct {
	st                 engine.Stats
	sums               sums
	tables             map[tableKey]*tableSum
	order              []tableKey
	version, goVersion string
}

// tableSum is a table's lanes together.
type tableSum struct {
	records, bytes, batches int64
	age                     time.Duration
	held                    int64
}

func (r *reading) eachTable(do func(t *tableSum, database, table string)) {
	for _, key := range r.order {
		do(r.tables[key], key.Database, key.Table)
	}
}

// read takes a snapshot, and what is known from events; false while there is
// nothing to take it of.
func (m *Meter) read() (*reading, bool) {
	m.mu.Lock()
	source := m.source
	m.mu.Unlock()
	if source == nil {
		return nil, false
	}
	r := &reading{st: source.Stats(), tables: make(map[tableKey]*tableSum), version: m.version, goVersion: runtime.Version()}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.sums = m.sums.clone()
	for i := range r.st.Lanes {
		l := &r.st.Lanes[i]
		key := m.tableLocked(tableKey{Database: l.Properties.Database, Table: l.Properties.Table})
		t := r.tables[key]
		if t == nil {
			t = new(tableSum)
			r.tables[key], r.order = t, append(r.order, key)
		}
		t.records += l.Waiting.Records
		t.bytes += l.Waiting.Bytes
		t.batches += l.Batches.Live()
		t.age = max(t.age, l.Waiting.Age)
		if l.Held && (t.held == 0 || key == others) {
			t.held++
		}
	}
	return r, true
}
