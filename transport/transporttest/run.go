package transporttest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// patience is how long a Send may take that should return at once. Only a
// transport that hangs meets it.
const patience = 30 * time.Second

// run is one case at work on one target.
type run struct {
	h Harness
	*Target
	spool     ingest.SpoolID
	guarantee ingest.Guarantee
	lanes     uint32
}

// parcel is a batch with what it should look like at the destination.
type parcel struct {
	batch   *ingest.Batch
	records []string
	data    []byte
}

// parcel makes a batch of n records that exist nowhere else.
func (r *run) parcel(t testing.TB, p ingest.Properties, n int) *parcel {
	r.lanes++
	out := &parcel{}
	for i := range n {
		id := fmt.Sprintf("%s lane %d record %d", t.Name(), r.lanes, i)
		switch p.Format {
		case ingest.CSV:
			out.records = append(out.records, fmt.Sprintf("%s,%d,\"grün, ✓\"", id, i))
		default:
			out.records = append(out.records, fmt.Sprintf(`{"id":%q,"n":%d,"text":"grün, ✓"}`, id, i))
		}
	}
	out.data = Join(out.records)
	if !p.Concatenates() {
		out.data = append([]byte("PAR1\x00\xff\r\n"), out.data...)
		out.records = []string{string(out.data)}
		n = 1
	}
	out.batch = &ingest.Batch{
		ID: ingest.NewBatchID(r.spool, r.lanes, 1, uint64(n)), Lane: r.lanes, First: 1, Last: uint64(n),
		Properties: p, Guarantee: r.guarantee, Confirm: ingest.ConfirmIngested,
		RawBytes: int64(len(out.data)), SealedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
	if r.Prepare != nil {
		r.Prepare(t, p)
	}
	return out
}

// json is the properties most cases use.
func (r *run) json() ingest.Properties {
	return ingest.Properties{Database: "Telemetry", Table: "Events", Format: ingest.JSON}
}

// attempt is one Send and what was seen of it.
type attempt struct {
	resumed bool // it had an earlier one's progress
	ack     transport.Ack
	err     error
	journal *Journal
	payload *Payload
}

// class is how an engine would read the attempt's error; 0 when there is none.
func (a *attempt) class() transport.Class {
	if a.err == nil {
		return 0
	}
	return transport.Classify(a.err, a.journal.Commits() > 0).Class
}

// delivery is the parts of an attempt that a case may want different.
type delivery struct {
	ctx      context.Context
	number   int
	progress []byte
	payload  *Payload
	journal  *Journal
}

// send makes one attempt and checks what must hold for every attempt.
func (r *run) send(t testing.TB, p *parcel, d delivery) *attempt {
	t.Helper()
	if d.ctx == nil {
		d.ctx = t.Context()
	}
	if d.payload == nil {
		d.payload = Bytes(p.data)
	}
	if d.journal == nil {
		d.journal = &Journal{}
	}
	a := &attempt{resumed: len(d.progress) > 0, journal: d.journal, payload: d.payload}
	batch := *p.batch
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		a.ack, a.err = r.Transport.Send(d.ctx, &transport.Delivery{Batch: &batch, Attempt: max(d.number, 1),
			Progress: d.progress, Payload: d.payload, Journal: d.journal})
		d.payload.Return()
	}()
	hung := time.NewTimer(patience)
	defer hung.Stop()
	select {
	case <-returned:
	case <-hung.C:
		t.Fatalf("Send has not returned after %v", patience)
	}
	r.check(t, p, &batch, a)
	return a
}

func (r *run) check(t testing.TB, p *parcel, after *ingest.Batch, a *attempt) {
	t.Helper()
	if !reflect.DeepEqual(after, p.batch) {
		t.Errorf("Send changed the batch to %+v", after)
	}
	if n := a.payload.Unclosed(); n != 0 {
		t.Errorf("Send left %d payload readers open", n)
	}
	if n := a.journal.Commits(); n > 1 {
		t.Errorf("Send called Commit %d times in one attempt", n)
	}
	for _, progress := range a.journal.written() {
		if len(progress) > transport.MaxProgressBytes {
			t.Errorf("progress of %d bytes is over the limit of %d", len(progress), transport.MaxProgressBytes)
		}
		for _, secret := range r.Secrets {
			if strings.Contains(string(progress), secret) {
				t.Error("progress holds a secret")
			}
		}
	}
	if a.err != nil {
		for _, secret := range r.Secrets {
			if strings.Contains(a.err.Error(), secret) {
				t.Error("the error's text holds a secret")
			}
		}
		var e *transport.Error
		if errors.As(a.err, &e) && (e.Class < transport.Transient || e.Class > transport.Unknown) {
			t.Errorf("the error has no class: %v", a.err)
		}
		return
	}
	switch a.ack.State {
	case ingest.Accepted:
		if _, ok := r.Transport.(transport.Tracker); !ok {
			t.Error("Send answers Accepted and no Tracker can tell the outcome")
		}
	case ingest.Succeeded, ingest.Skipped:
	default:
		t.Errorf("Send answers %v, want accepted, succeeded or skipped", a.ack.State)
	}
	underWay := a.resumed && a.ack.State == ingest.Accepted // an earlier attempt's effect, which that one has committed
	if a.ack.State != ingest.Skipped && !underWay && a.journal.Commits() == 0 {
		t.Errorf("Send answers %v without a Commit", a.ack.State)
	}
	if a.ack.WireBytes < 0 {
		t.Errorf("WireBytes is %d", a.ack.WireBytes)
	}
}

// deliver is a send that must be taken.
func (r *run) deliver(t testing.TB, p *parcel, d delivery) *attempt {
	t.Helper()
	a := r.send(t, p, d)
	if a.err != nil {
		t.Fatalf("Send: %v", a.err)
	}
	return a
}

// copies counts how often each of the parcel's records is at the destination.
// They must all be there equally often.
func (r *run) copies(t testing.TB, p *parcel) int {
	t.Helper()
	count := make(map[string]int, len(p.records))
	props := p.batch.Properties
	props.ByReference = false // the rows are the blob's
	for _, row := range r.Rows(t, props) {
		count[row]++
	}
	n := count[p.records[0]]
	for _, rec := range p.records {
		if count[rec] != n {
			t.Errorf("of one batch record %.60q is there %d times and %.60q %d times", p.records[0], n, rec, count[rec])
		}
	}
	return n
}

// wantCopies settles and compares.
func (r *run) wantCopies(t testing.TB, p *parcel, want int) {
	t.Helper()
	r.settle(t)
	if got := r.copies(t, p); got != want {
		t.Errorf("the batch is at the destination %d times, want %d", got, want)
	}
}

// wantOnly settles and compares a whole table.
func (r *run) wantOnly(t testing.TB, p ingest.Properties, parcels ...*parcel) {
	t.Helper()
	r.settle(t)
	var want []string
	for _, x := range parcels {
		want = append(want, x.records...)
	}
	got := slices.Clone(r.Rows(t, p))
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			var g, w string
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = want[i]
			}
			t.Errorf("table %s.%s has %d rows, want %d; the first difference is %.120q, want %.120q",
				p.Database, p.Table, len(got), len(want), g, w)
			return
		}
	}
}

// verdict asks the transport's Tracker until it says something of the batch
// that is not Accepted. ok is false when the transport has none.
func (r *run) verdict(t testing.TB, p *parcel, progress []byte) (v transport.Verdict, ok bool) {
	t.Helper()
	tracker, ok := r.Transport.(transport.Tracker)
	if !ok {
		return v, false
	}
	// Settle is the wait; the repetition is for destinations whose answer to
	// one question is the start of the next step.
	for range 10 {
		r.settle(t)
		verdicts, err := tracker.Track(t.Context(), []transport.Pending{{Batch: p.batch, Progress: progress}})
		if err != nil {
			t.Fatalf("Track: %v", err)
		}
		for _, v := range verdicts {
			if v.Batch != p.batch.ID {
				t.Fatalf("Track tells of batch %v, which was not asked for", v.Batch)
			}
			if v.State != ingest.Accepted {
				return v, true
			}
		}
	}
	return transport.Verdict{}, true
}
