package transporttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

var errDamaged = errors.New("frame 7: checksum mismatch")

// A payload that cannot be read must not arrive, and least of all in part.
func testPayloadError(t *testing.T, r *run) {
	var arrived []*parcel
	for _, part := range []int{0, 1, 2} { // the error comes first, half way, in place of EOF
		p := r.parcel(t, r.json(), 2000)
		a := r.send(t, p, delivery{payload: &Payload{Data: p.data, FailAt: len(p.data) * part / 2, Err: errDamaged}})
		if !errors.Is(a.err, errDamaged) {
			t.Errorf("read error at %d of 2: Send returns %v, want the payload's error in its chain", part, a.err)
		}
		r.wantOnly(t, r.json(), arrived...)
		// What the broken attempt left must not stand in the way of a good one.
		r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
		r.wantCopies(t, p, 1)
		arrived = append(arrived, p)
	}
}

func testContextEnded(t *testing.T, r *run) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := r.parcel(t, r.json(), 2)
	a := r.send(t, p, delivery{ctx: ctx})
	if a.err == nil {
		t.Error("Send succeeds under a context that has ended")
	}
	r.wantCopies(t, p, 0)
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.wantCopies(t, p, 1)
}

func testContextEndsInPayload(t *testing.T, r *run) {
	p := r.parcel(t, r.json(), 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := r.send(t, p, delivery{ctx: ctx, payload: &Payload{Data: p.data, OnRead: func(offset int) {
		if offset > 0 {
			cancel()
		}
	}}})
	r.afterBrokenSend(t, p, a)
}

func testContextEndsInStall(t *testing.T, r *run) {
	if r.Stall == nil {
		t.Skip("the harness has no Stall")
	}
	release := r.Stall(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	p := r.parcel(t, r.json(), 5)
	a := r.send(t, p, delivery{ctx: ctx})
	release()
	if a.err == nil {
		t.Error("Send succeeds at a destination that does not answer")
	}
	r.afterBrokenSend(t, p, a)
}

// afterBrokenSend checks that an attempt that was cut off says the truth, and
// that the batch arrives once in the end.
func (r *run) afterBrokenSend(t testing.TB, p *parcel, a *attempt) {
	t.Helper()
	if a.err != nil && a.class() != transport.Unknown {
		r.wantCopies(t, p, 0)
	}
	if a.err == nil {
		r.wantCopies(t, p, 1)
		return
	}
	if a.journal.Commits() > 0 && a.class() != transport.Unknown {
		// A transport may know that the effect did not happen; the count above
		// has checked it.
		t.Logf("cut off after Commit and sure of the outcome: %v", a.err)
	}
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.atLeastOne(t, p)
}

func testDown(t *testing.T, r *run) {
	if r.Target.Down == nil {
		t.Skip("the harness has no Down")
	}
	p := r.parcel(t, r.json(), 5)
	r.Target.Down(t, true)
	a := r.send(t, p, delivery{})
	if a.err == nil {
		t.Fatal("Send succeeds at a destination that is down")
	}
	// Unknown is allowed: a connection can break after the request was written.
	if c := a.class(); !c.Destination() && c != transport.Held && c != transport.Unknown {
		t.Errorf("the class is %v, want one that waits: %v", c, a.err)
	}
	r.Target.Down(t, false)
	r.wantCopies(t, p, 0)
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.wantCopies(t, p, 1)
}

func testLostReply(t *testing.T, r *run) {
	if r.LoseReply == nil {
		t.Skip("the harness has no LoseReply")
	}
	p := r.parcel(t, r.json(), 5)
	r.LoseReply(t)
	a := r.send(t, p, delivery{})
	if a.err == nil {
		t.Fatalf("Send succeeds without a reply: %+v", a.ack)
	}
	if c := a.class(); c != transport.Unknown {
		t.Errorf("the class is %v, want unknown: %v", c, a.err)
	}
	if a.journal.Commits() != 1 {
		t.Errorf("Commit was called %d times before the effect", a.journal.Commits())
	}
	r.wantCopies(t, p, 1)

	if v, ok := r.verdict(t, p, a.journal.Last()); ok && v.State != 0 && !v.State.Ingested() {
		t.Errorf("the batch arrived, and Track says %v %v", v.State, v.Failure)
	}
	r.deliver(t, p, delivery{number: 2, progress: a.journal.Last()})
	r.atLeastOne(t, p)
}

func testRefused(t *testing.T, r *run) {
	if len(r.Refuse) == 0 {
		t.Skip("the harness has no Refuse")
	}
	for class, refuse := range r.Refuse {
		t.Run(class.String(), func(t *testing.T) {
			p := r.parcel(t, r.json(), 5)
			refuse(t)
			a := r.send(t, p, delivery{})
			got := a.class()
			switch {
			case a.err == nil && a.ack.State == ingest.Accepted:
				v, _ := r.verdict(t, p, a.journal.Last())
				if v.State != ingest.DeadLettered || v.Failure == nil {
					t.Fatalf("Track says %v %v, want dead-lettered with a failure", v.State, v.Failure)
				}
				got = v.Failure.Class
			case a.err == nil:
				t.Fatalf("Send answers %v", a.ack.State)
			}
			if got != class {
				t.Errorf("the class is %v, want %v", got, class)
			}
			r.wantCopies(t, p, 0)
		})
	}
}

func testTrack(t *testing.T, r *run) {
	tracker, ok := r.Transport.(transport.Tracker)
	if !ok {
		t.Skip("the transport is no Tracker")
	}
	sent, other := r.parcel(t, r.json(), 5), r.parcel(t, r.json(), 5)
	a := r.deliver(t, sent, delivery{})
	if a.ack.State != ingest.Accepted {
		return // the outcome was in the answer
	}
	v, _ := r.verdict(t, sent, a.journal.Last())
	if !v.State.Ingested() || v.Failure != nil {
		t.Fatalf("Track says %v %v, want an ingested state", v.State, v.Failure)
	}
	r.wantCopies(t, sent, 1)

	// Asked again, as after a crash between the answer and its record, the
	// transport must not take the answer back. A batch that never left has none.
	verdicts, err := tracker.Track(t.Context(), []transport.Pending{
		{Batch: sent.batch, Progress: a.journal.Last()}, {Batch: other.batch}})
	if err != nil {
		t.Fatalf("Track: %v", err)
	}
	for _, v := range verdicts {
		if v.Batch == sent.batch.ID && !v.State.Ingested() {
			t.Errorf("asked again Track says %v", v.State)
		}
		if v.Batch == other.batch.ID && v.State != ingest.DeadLettered {
			t.Errorf("Track says %v of a batch that was never sent", v.State)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if verdicts, err := tracker.Track(ctx, []transport.Pending{{Batch: other.batch}}); err == nil && len(verdicts) > 0 {
		t.Errorf("Track under an ended context says %v", verdicts)
	}
}
