package fault

import (
	"strings"
	"sync"
)

// IngestFaultKind says what happens to an ingestion.
type IngestFaultKind int

const (
	// FailTransient fails the attempt with FailureStatus Transient; the
	// simulator tries again soon. Default code
	// General_InternalServerError.
	FailTransient IngestFaultKind = iota + 1
	// FailExhausted ends the ingestion with FailureStatus Exhausted, as if the
	// service had retried for 48 hours. Default code General_RetryAttemptsExceeded.
	FailExhausted
	// FailPermanent ends the ingestion with FailureStatus Permanent. Default
	// code General_BadRequest.
	FailPermanent
	// LeavePending loses the message: nothing is ingested or reported, ever.
	LeavePending
	// Hold keeps the ingestion, or the command with its share of the capacity,
	// until the fault is removed; then it goes on.
	Hold
	// Duplicate delivers the queue message Copies more times.
	Duplicate
	// LoseReport ingests as usual and reports nothing.
	LoseReport
	// LoseRow ingests all but the last row, and reports success.
	LoseRow
	// AlterValue ingests the last row with another value in Column, or in its
	// first column, and reports success.
	AlterValue
	// MergeExtents ingests, and merges then the extents of the table.
	MergeExtents
	// ExpireTags ingests, and removes then the ingest-by: tags of the table's
	// extents, of the new one as well.
	ExpireTags
	// ExpireExtents ingests, and removes then the extents of the table, the new one
	// as well, with their rows.
	ExpireExtents
)

// IngestFault is one fault of the ingestion into a table.
type IngestFault struct {
	Kind IngestFaultKind

	// Code and Details of the failure; empty for the kind's default.
	Code    string
	Details string

	// Report writes a transient failure to the status, as the service may; by
	// default the status stays Pending until the last word.
	Report bool
	// AfterCommit makes FailTransient, FailExhausted and FailPermanent strike
	// when the rows are already committed: the retry of such a one doubles them
	// unless a tag prevents it.
	AfterCommit bool
	// Copies of Duplicate; 0 means 1.
	Copies int
	// Column of AlterValue; empty is the first one.
	Column string

	// SourceContains narrows the fault to blobs with this text in their URI.
	SourceContains string
	// Every strikes each nth matching attempt; 0 and 1 all of them.
	Every int
	// Times ends the fault after that many strikes; 0 never.
	Times int
}

// ActiveIngest is a fault in force.
type ActiveIngest struct {
	IngestFault
	db, table string
	matched   int
	struck    int
	removed   chan struct{} // closed when the fault is
}

// IngestSet holds the ingestion faults in force.
type IngestSet struct {
	mu struct {
		sync.Mutex
		active []*ActiveIngest
	}
}

// Add puts a fault on the ingestion into a table, an empty name standing for any.
// The returned function ends it; ending it twice is allowed.
func (f *IngestSet) Add(db, table string, fault IngestFault) (remove func()) {
	a := &ActiveIngest{IngestFault: fault, db: db, table: table, removed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.active = append(f.mu.active, a)
	return func() { f.remove(a) }
}

// Ended is closed when the fault is removed.
func (a *ActiveIngest) Ended() <-chan struct{} { return a.removed }

func (f *IngestSet) remove(a *ActiveIngest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, have := range f.mu.active {
		if have == a {
			f.mu.active = append(f.mu.active[:i:i], f.mu.active[i+1:]...)
			close(a.removed)
			return
		}
	}
}

// Strike returns the first fault of one of the kinds that strikes.
func (f *IngestSet) Strike(db, table, source string, kinds ...IngestFaultKind) *ActiveIngest {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.mu.active {
		wanted := false
		for _, k := range kinds {
			wanted = wanted || a.Kind == k
		}
		if !wanted || a.db != "" && a.db != db || a.table != "" && a.table != table || !strings.Contains(source, a.SourceContains) {
			continue
		}
		a.matched++
		if a.Times > 0 && a.struck >= a.Times || a.Every > 1 && a.matched%a.Every != 0 {
			continue
		}
		a.struck++
		return a
	}
	return nil
}
