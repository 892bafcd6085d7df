package transporttest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var events = ingest.Properties{Database: "db", Table: "Events", Format: ingest.JSON}

func batchOf(lane uint32, records ...string) (*ingest.Batch, *transporttest.Payload) {
	data := transporttest.Join(records)
	n := uint64(len(records))
	return &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, lane, 1, n), Lane: lane, First: 1, Last: n, Properties: events,
		Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested, RawBytes: int64(len(data))}, transporttest.Bytes(data)
}

func attempt(t *testing.T, tr transport.Transport, n int, lane uint32, records ...string) (transport.Ack, *transport.Error, *transporttest.Journal) {
	t.Helper()
	b, p := batchOf(lane, records...)
	j := &transporttest.Journal{}
	ack, err := tr.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: n, Payload: p, Journal: j})
	if err == nil {
		return ack, nil, j
	}
	return ack, transport.Classify(err, j.Commits() > 0), j
}

func TestFakeScript(t *testing.T) {
	f := transporttest.NewFake()
	f.Script(
		transporttest.Step{Fail: transporttest.Throttle(time.Minute)},
		transporttest.Step{LoseRequest: true},
		transporttest.Step{LoseReply: true},
	)
	if _, e, j := attempt(t, f, 1, 1, "a", "b"); e == nil || e.Class != transport.Throttled || e.RetryAfter != time.Minute || j.Commits() != 0 {
		t.Errorf("attempt 1: %v after %d commits", e, j.Commits())
	}
	if _, e, j := attempt(t, f, 2, 1, "a", "b"); e == nil || e.Class != transport.Unknown || j.Commits() != 1 || len(f.Kept()) != 0 {
		t.Errorf("attempt 2: %v, %d kept", e, len(f.Kept()))
	}
	if _, e, _ := attempt(t, f, 3, 1, "a", "b"); e == nil || e.Class != transport.Unknown || len(f.Kept()) != 1 {
		t.Errorf("attempt 3: %v, %d kept", e, len(f.Kept()))
	}
	if ack, e, _ := attempt(t, f, 4, 1, "a", "b"); e != nil || ack.State != ingest.Skipped || f.Skips() != 1 {
		t.Errorf("attempt 4: %v %v, %d skips", ack, e, f.Skips())
	}
	if rows := f.Rows(transporttest.TableOf(events)); !slices.Equal(rows, []string{"a", "b"}) {
		t.Errorf("rows %q", rows)
	}
	if v := f.Violations(); len(v) != 0 {
		t.Errorf("violations %q", v)
	}
	if n := len(f.Sends()); n != 4 {
		t.Errorf("%d sends on record", n)
	}
}

func TestFakeScriptOfATableGoesFirst(t *testing.T) {
	f := transporttest.NewFake()
	f.Script(transporttest.Step{Fail: transporttest.Fail(transport.Transient)})
	f.ScriptTable(transporttest.TableOf(events), transporttest.Step{Fail: transporttest.Fail(transport.Held)})
	f.Down(transporttest.Fail(transport.Unauthorized))
	var got []transport.Class
	for i := 1; i <= 4; i++ {
		_, e, _ := attempt(t, f, i, 1, "a")
		f.Down(nil)
		if e != nil {
			got = append(got, e.Class)
		}
	}
	if want := []transport.Class{transport.Unauthorized, transport.Held, transport.Transient}; !slices.Equal(got, want) {
		t.Errorf("classes %v, want %v and then none", got, want)
	}
}

func TestFakePoison(t *testing.T) {
	f := transporttest.NewFake()
	f.Poison(func(rec []byte) bool { return string(rec) == "bad" })
	if _, e, _ := attempt(t, f, 1, 1, "good", "bad"); e == nil || e.Class != transport.Malformed {
		t.Errorf("the poisoned batch: %v", e)
	}
	if _, e, _ := attempt(t, f, 1, 2, "good"); e != nil {
		t.Errorf("the good batch: %v", e)
	}
	if rows := f.AllRows(); !slices.Equal(rows, []string{"good"}) {
		t.Errorf("rows %q", rows)
	}
}

func TestFakeAtLeastOnceKeepsRepeats(t *testing.T) {
	f := transporttest.NewFakeWith(transport.Capabilities{})
	b, p := batchOf(1, "a")
	send := func(n int) error {
		_, err := f.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: n, Payload: p, Journal: &transporttest.Journal{}})
		return err
	}
	var e *transport.Error
	if err := send(1); !errors.As(err, &e) || e.Class != transport.Permanent {
		t.Errorf("exactly-once is answered with %v", err)
	}
	b2 := *b
	b2.Guarantee, b2.ID = ingest.AtLeastOnce, ingest.NewBatchID(ingest.SpoolID{2}, 1, 1, 1)
	b = &b2
	for n := 1; n <= 2; n++ {
		if err := send(n); err != nil {
			t.Error(err)
		}
	}
	if n := len(f.AllRows()); n != 2 {
		t.Errorf("%d rows after a repeat, want 2", n)
	}
}

func TestFakeTracking(t *testing.T) {
	f := transporttest.NewFake().Tracking()
	gate := make(chan struct{})
	f.Script(transporttest.Step{Verdicts: gate}, transporttest.Step{Refuse: transporttest.Fail(transport.Malformed)}, transporttest.Step{LoseRequest: true})
	var pending []transport.Pending
	for lane := uint32(1); lane <= 3; lane++ {
		ack, e, _ := attempt(t, f, 1, lane, "a")
		if lane < 3 && (e != nil || ack.State != ingest.Accepted) {
			t.Errorf("lane %d: %v %v", lane, ack, e)
		}
		b, _ := batchOf(lane, "a")
		pending = append(pending, transport.Pending{Batch: b})
	}
	track := func() map[uint32]transport.Verdict {
		out := map[uint32]transport.Verdict{}
		verdicts, err := f.Track(t.Context(), pending)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range verdicts {
			for _, p := range pending {
				if p.Batch.ID == v.Batch {
					out[p.Batch.Lane] = v
				}
			}
		}
		return out
	}
	if got := track(); len(got) != 1 || got[2].State != ingest.DeadLettered || got[2].Failure.Class != transport.Malformed {
		t.Errorf("before the gate: %+v", got)
	}
	close(gate)
	f.Verdict(transport.Verdict{Batch: pending[2].Batch.ID, State: ingest.DeadLettered, Failure: transporttest.Fail(transport.Transient)})
	if got := track(); len(got) != 3 || got[1].State != ingest.Succeeded || got[3].Failure.Class != transport.Transient {
		t.Errorf("after the gate: %+v", got)
	}
}

func TestFakeReportsViolations(t *testing.T) {
	f := transporttest.NewFake()
	release := make(chan struct{})
	f.Script(transporttest.Step{Wait: release})
	b, p := batchOf(1, "a")
	send := func(b *ingest.Batch, p transport.Payload, n int) {
		_, _ = f.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: n, Payload: p, Journal: &transporttest.Journal{}})
	}
	done := make(chan struct{})
	go func() { defer close(done); send(b, p, 1) }()
	if err := f.WaitSends(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	send(b, p, 2)
	close(release)
	<-done

	other := *b
	other.Properties.Table = "Elsewhere"
	send(&other, p, 3)
	send(b, transporttest.Bytes([]byte("b\n")), 3)
	_ = f.Close()
	send(b, p, 5)

	got := strings.Join(f.Violations(), "\n")
	for _, want := range []string{"twice at once", "is now", "attempt 3 comes after attempt 3", "other bytes", "after Close"} {
		if !strings.Contains(got, want) {
			t.Errorf("no violation says %q:\n%s", want, got)
		}
	}
}

// Inside a bubble a slow attempt takes no time, and a stuck one ends with its
// context.
func TestFakeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := transporttest.NewFake()
		f.Script(transporttest.Step{Delay: time.Hour}, transporttest.Step{WaitKept: make(chan struct{})})
		start := time.Now()
		if _, e, _ := attempt(t, f, 1, 1, "a"); e != nil {
			t.Error(e)
		}
		if took := time.Since(start); took != time.Hour {
			t.Errorf("the slow attempt took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b, p := batchOf(2, "b")
		j := &transporttest.Journal{}
		_, err := f.Send(ctx, &transport.Delivery{Batch: b, Attempt: 1, Payload: p, Journal: j})
		if !errors.Is(err, context.DeadlineExceeded) || transport.Classify(err, j.Commits() > 0).Class != transport.Unknown {
			t.Errorf("the stuck attempt: %v", err)
		}
		if n := len(f.AllRows()); n != 2 {
			t.Errorf("%d rows, want both batches", n)
		}
		sends := f.Sends()
		if err := f.WaitEnded(t.Context(), 2); err != nil || !sends[0].Ended.Equal(start.Add(time.Hour)) {
			t.Errorf("%v, ended at %v", err, sends[0].Ended)
		}
	})
}
