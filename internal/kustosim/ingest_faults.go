package kustosim

import (
	"strings"
	"sync"
)

// IngestFaultKind says what happens to an ingestion.
type IngestFaultKind int

const (
	// FailTransient fails the attempt with FailureStatus Transient; the
	// simulator tries again after Options.RetryEvery. Default code
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

type activeIngestFault struct {
	IngestFault
	db, table string
	matched   int
	struck    int
	removed   chan struct{} // closed when the fault is
}

// ingestFaultSet holds the ingestion faults in force.
type ingestFaultSet struct {
	mu struct {
		sync.Mutex
		active []*activeIngestFault
	}
}

func (f *ingestFaultSet) add(a *activeIngestFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.active = append(f.mu.active, a)
}

func (f *ingestFaultSet) remove(a *activeIngestFault) {
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

// strike returns the first fault of one of the kinds that strikes.
func (f *ingestFaultSet) strike(in *ingestion, kinds ...IngestFaultKind) *activeIngestFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.mu.active {
		wanted := false
		for _, k := range kinds {
			wanted = wanted || a.Kind == k
		}
		if !wanted || a.db != "" && a.db != in.DatabaseName || a.table != "" && a.table != in.TableName || !strings.Contains(in.source(), a.SourceContains) {
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

func (a *activeIngestFault) failure() *ingestError {
	e := &ingestError{code: a.Code, details: a.Details}
	code := ""
	switch a.Kind {
	case FailTransient:
		code, e.status = "General_InternalServerError", Transient
	case FailExhausted:
		code, e.status = "General_RetryAttemptsExceeded", Exhausted
	default:
		code, e.status = "General_BadRequest", Permanent
	}
	if e.code == "" {
		e.code = code
	}
	if e.details == "" {
		e.details = "a fault of the simulator"
	}
	return e
}

// IngestFault puts a fault on the ingestion into a table; an empty database or
// table means any. The returned function ends it; ending it twice is allowed.
func (s *Sim) IngestFault(db, table string, f IngestFault) (remove func()) {
	a := &activeIngestFault{IngestFault: f, db: db, table: table, removed: make(chan struct{})}
	s.ingestor.faults.add(a)
	return func() {
		s.ingestor.faults.remove(a)
		s.ingestor.release()
		s.change.notify()
	}
}
