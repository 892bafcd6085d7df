package transporttest

import (
	"bytes"
	"errors"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

var errJournal = errors.New("the journal's disk is full")

// The intent is durable before the first row can be seen.
func testCommitComesFirst(t *testing.T, r *run) {
	p := r.parcel(t, r.json(), 5)
	j := &Journal{OnCommit: func([]byte) error {
		r.settle(t)
		if n := r.copies(t, p); n != 0 {
			t.Errorf("%d copies of the batch are at the destination before Commit returned", n)
		}
		return nil
	}}
	a := r.deliver(t, p, delivery{journal: j})
	if n := a.journal.Commits(); n != 1 {
		t.Errorf("Commit was called %d times, want once", n)
	}
	r.wantCopies(t, p, 1)
}

// An intent that could not be written must not be followed by its effect.
func testJournalErrorStops(t *testing.T, r *run) {
	refuse := func([]byte) error { return errJournal }

	p := r.parcel(t, r.json(), 5)
	a := r.send(t, p, delivery{journal: &Journal{OnCommit: refuse}})
	if !errors.Is(a.err, errJournal) {
		t.Errorf("after a failed Commit Send returns %v, want the journal's error", a.err)
	}
	r.wantCopies(t, p, 0)
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.wantCopies(t, p, 1)

	p = r.parcel(t, r.json(), 5)
	a = r.send(t, p, delivery{journal: &Journal{OnNote: refuse}})
	if a.journal.Notes() == 0 {
		return // this transport has no step before the commit
	}
	if !errors.Is(a.err, errJournal) {
		t.Errorf("after a failed Note Send returns %v, want the journal's error", a.err)
	}
	if a.journal.Notes() > 1 || a.journal.Commits() > 0 {
		t.Error("after a failed Note Send went on")
	}
	r.wantCopies(t, p, 0)
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.wantCopies(t, p, 1)
}

// A repeat of a batch that arrived, with and without its progress.
func testRepeat(t *testing.T, r *run) {
	p := r.parcel(t, r.json(), 5)
	first := r.deliver(t, p, delivery{})
	r.settle(t)
	r.deliver(t, p, delivery{number: 2, progress: first.journal.Last()})
	r.deliver(t, p, delivery{number: 3})
	r.atLeastOne(t, p)
}

// atLeastOne is what must be there after a repeat: one copy with exactly-once,
// and with at-least-once one or more.
func (r *run) atLeastOne(t testing.TB, p *parcel) {
	t.Helper()
	if r.guarantee == ingest.ExactlyOnce {
		r.wantCopies(t, p, 1)
		return
	}
	r.settle(t)
	if r.copies(t, p) == 0 {
		t.Error("the batch is lost")
	}
}

// A crash can come after each intent, before or after its effect. The next
// attempt starts from that intent and one copy arrives.
func testResume(t *testing.T, r *run) {
	p := r.parcel(t, r.json(), 5)
	intents := len(r.deliver(t, p, delivery{}).journal.written())
	r.wantCopies(t, p, 1)
	for crash := 1; crash <= intents; crash++ {
		p := r.parcel(t, r.json(), 5)
		n := 0
		die := func([]byte) error {
			if n++; n == crash {
				return errJournal
			}
			return nil
		}
		a := r.send(t, p, delivery{journal: &Journal{OnNote: die, OnCommit: die}})
		if !errors.Is(a.err, errJournal) {
			t.Errorf("crash at intent %d: Send returns %v", crash, a.err)
		}
		r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
		r.wantCopies(t, p, 1)
	}
}

// Progress may be of an older version or damaged: the batch arrives all the same.
func testForeignProgress(t *testing.T, r *run) {
	for _, progress := range [][]byte{{}, {0}, []byte("{}"), []byte("null"), []byte(`{"v":99,"container":7}`), []byte(`["`),
		bytes.Repeat([]byte{0xff}, transport.MaxProgressBytes)} {
		p := r.parcel(t, r.json(), 2)
		r.deliver(t, p, delivery{number: 2, progress: progress})
		r.wantCopies(t, p, 1)
	}
}

// A transport that cannot make the destination skip a repeat refuses the batch.
func testExactlyOnceOrRefused(t *testing.T, r *run) {
	if r.guarantee == ingest.ExactlyOnce {
		r.guarantee = ingest.AtLeastOnce
		p := r.parcel(t, r.json(), 2)
		r.deliver(t, p, delivery{})
		r.wantCopies(t, p, 1)
		return
	}
	r.guarantee = ingest.ExactlyOnce
	p := r.parcel(t, r.json(), 2)
	if a := r.send(t, p, delivery{}); a.err == nil {
		t.Error("a batch with exactly-once is taken by a transport that cannot keep it")
	}
	r.wantCopies(t, p, 0)
}
