package direct

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func asyncClient(t testing.TB, sim *kustosim.Sim) *Client {
	t.Helper()
	c, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Async: true, TrackInterval: 10 * time.Millisecond, SlotWait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// settled waits until no command is under way.
func settled(t testing.TB, sim *kustosim.Sim) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sim.Wait(ctx, func() bool { return sim.CommandsUnderWay() == 0 }); err != nil {
		t.Fatalf("commands do not end: %v", err)
	}
}

func TestContractOfAsync(t *testing.T) {
	for name, o := range map[string]ClientOptions{"one blob": {}, "several blobs": {MaxBlobBytes: 64 << 10}} {
		t.Run(name, func(t *testing.T) {
			o.Async, o.TrackInterval = true, 10*time.Millisecond
			transporttest.Run(t, transporttest.Harness{Formats: textFormats, LargeBytes: 3 << 20, New: func(t *testing.T) *transporttest.Target {
				var sim *kustosim.Sim
				tg := target(t, ".ingest async", nil, func(s *kustosim.Sim) (transport.Transport, error) {
					sim = s
					return NewClient(s.Endpoint(), nil, &o)
				})
				tg.Settle = func(t testing.TB) { settled(t, sim) }
				return tg
			}})
		})
	}
}

// A reply that is lost, with the effect and without it, and a process that
// stops between the reply and the note of the operation: one copy each time,
// also where no tag would stop a second one.
func TestAsyncLostInBetween(t *testing.T) {
	stop := errors.New("the process stops")
	for name, c := range map[string]struct {
		fault *kustosim.Fault
		crash bool
		there bool
	}{
		"504 after":         {&kustosim.Fault{Kind: kustosim.RespondLate, Status: 504}, false, true},
		"520 after":         {&kustosim.Fault{Kind: kustosim.RespondLate, Status: 520}, false, true},
		"reset after":       {&kustosim.Fault{Kind: kustosim.DropReply}, false, true},
		"504 instead":       {&kustosim.Fault{Kind: kustosim.Respond, Status: 504}, false, false},
		"reset":             {&kustosim.Fault{Kind: kustosim.DropRequest}, false, false},
		"crash before note": {nil, true, true},
	} {
		for _, guarantee := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
			t.Run(name+" "+guarantee.String(), func(t *testing.T) {
				sim := startSim(t, &kustosim.Options{AutoCreate: true})
				client := asyncClient(t, sim)
				if c.fault != nil {
					f := *c.fault
					f.PathContains, f.Times = ".ingest async", 1
					sim.Fault(kustosim.Engine, f)
				}
				var committed []byte
				j := &transporttest.Journal{OnCommit: func(p []byte) error { committed = p; return nil }}
				if c.crash {
					j.OnNote = func(p []byte) error {
						if decodeProgress(p).Operation != "" {
							return stop
						}
						return nil
					}
				}
				b := jsonBatch(guarantee)
				d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
				_, err := client.Send(t.Context(), d)
				if transport.Classify(err, true).Class != transport.Unknown || c.crash && !errors.Is(err, stop) {
					t.Fatalf("Send: %v, want unknown", err)
				}
				settled(t, sim)

				next := asyncClient(t, sim) // the next process
				verdicts, err := next.Track(t.Context(), []transport.Pending{{Batch: b, Progress: committed}})
				if err != nil || c.there != (len(verdicts) == 1 && verdicts[0].State.Ingested()) {
					t.Errorf("there: %t; Track: %+v, %v", c.there, verdicts, err)
				}
				d.Attempt, d.Progress, d.Journal = 2, committed, &transporttest.Journal{}
				ack, err := next.Send(t.Context(), d)
				if err != nil || c.there != (ack.State == ingest.Skipped) || !c.there && ack.State != ingest.Accepted {
					t.Errorf("again: %v, %v", ack.State, err)
				}
				settled(t, sim)
				if n := sim.Count("db1", "tbl1"); n != 2 {
					t.Errorf("%d rows, want 2", n)
				}
			})
		}
	}
}

// While the operation is under way it holds its slot, Track says accepted, and
// another attempt sends nothing. The next process finds it by its id.
func TestAsyncUnderWay(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true})
	release := sim.IngestFault("", "", kustosim.IngestFault{Kind: kustosim.Hold})
	client := asyncClient(t, sim)
	b, j := jsonBatch(ingest.AtLeastOnce), &transporttest.Journal{}
	d := &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
	ack, err := client.Send(t.Context(), d)
	if err != nil || ack.State != ingest.Accepted {
		t.Fatalf("Send: %v, %v", ack, err)
	}
	if decodeProgress(j.Last()).Operation == "" {
		t.Error("the operation's id is not durable")
	}
	next := asyncClient(t, sim)
	for _, c := range []*Client{client, next} {
		vs, err := c.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
		if err != nil || len(vs) != 1 || vs[0].State != ingest.Accepted {
			t.Errorf("Track: %+v, %v", vs, err)
		}
	}
	if n := client.limiter.figures().InFlight; n != 1 {
		t.Errorf("%d slots held while the operation is under way", n)
	}
	d.Attempt, d.Progress = 2, j.Last()
	if ack, err = next.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted {
		t.Errorf("again: %v, %v", ack, err)
	}
	release()
	settled(t, sim)
	vs, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
	if err != nil || len(vs) != 1 || vs[0].State != ingest.Succeeded {
		t.Errorf("Track at the end: %+v, %v", vs, err)
	}
	if n := client.limiter.figures().InFlight; n != 0 {
		t.Errorf("%d slots held at the end", n)
	}
	if n := sim.Count("db1", "tbl1"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// Over capacity the operation ends as throttled: the client is told late, takes
// less, and the batch is sent again.
func TestAsyncThrottled(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true, IngestCapacity: 1})
	release := sim.IngestFault("", "", kustosim.IngestFault{Kind: kustosim.Hold})
	other, client := asyncClient(t, sim), asyncClient(t, sim)
	b1, b2 := jsonBatch(ingest.ExactlyOnce), jsonBatch(ingest.ExactlyOnce)
	b2.ID[0]++
	if _, err := other.Send(t.Context(), &transport.Delivery{Batch: b1, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: &transporttest.Journal{}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sim.Wait(ctx, func() bool { return sim.PeakIngestions() == 1 }); err != nil { // it has its slot
		t.Fatal(err)
	}
	j := &transporttest.Journal{}
	d := &transport.Delivery{Batch: b2, Attempt: 1, Payload: transporttest.Bytes(lines), Journal: j}
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := sim.Wait(ctx, func() bool { return sim.Stats().Throttled == 1 && sim.CommandsUnderWay() <= 1 }); err != nil {
		t.Fatal(err)
	}
	vs, err := client.Track(t.Context(), []transport.Pending{{Batch: b2, Progress: j.Last()}})
	if err != nil || len(vs) != 1 || vs[0].Failure == nil || vs[0].Failure.Class != transport.Throttled {
		t.Fatalf("Track: %+v, %v", vs, err)
	}
	if f := client.limiter.figures(); f.Throttled != 1 || f.InFlight != 0 {
		t.Errorf("%+v", f)
	}
	release()
	settled(t, sim)
	d.Attempt, d.Progress = 2, j.Last()
	if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted {
		t.Errorf("again: %v, %v", ack, err)
	}
	settled(t, sim)
	if n := sim.Count("db1", "tbl1"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

// What each state of an operation means for an untagged batch.
func TestStatesOfAnOperation(t *testing.T) {
	p := progress{Requests: []string{"r"}}.encode()
	for state, want := range map[string]struct {
		state ingest.State
		class transport.Class
	}{
		"InProgress": {ingest.Accepted, 0}, "Scheduled": {ingest.Accepted, 0}, "Completed": {ingest.Succeeded, 0}, "Skipped": {ingest.Skipped, 0},
		"Failed": {ingest.DeadLettered, transport.Transient}, "Throttled": {ingest.DeadLettered, transport.Throttled},
		"PartiallySucceeded": {ingest.DeadLettered, transport.Permanent}, "Abandoned": {ingest.DeadLettered, transport.Transient},
		"Canceled": {ingest.DeadLettered, transport.Transient}, "BadInput": {ingest.DeadLettered, transport.Malformed}, "Dreaming": {0, 0},
	} {
		reason := ""
		if state == "BadInput" {
			reason = "Stream_WrongNumberOfFields: 3 of 4"
		}
		v, err := new(Client).judge(t.Context(), transport.Pending{Batch: jsonBatch(ingest.AtLeastOnce), Progress: p}, map[string]logged{"r": {state, reason}})
		if err != nil || v.State != want.state || (v.Failure != nil) != (want.class != 0) || v.Failure != nil && v.Failure.Class != want.class {
			t.Errorf("%s: %+v, %v; want %v %v", state, v, err, want.state, want.class)
		}
	}
}

// The id of an operation stands bare in a command, so only an id may stand there.
func FuzzOperationID(f *testing.F) {
	f.Add("0d1d8d42-3a0c-4d0b-8f32-1bd2c1f6a6d1")
	f.Add("x) | .drop table T")
	f.Add("{0d1d8d42-3a0c-4d0b-8f32-1bd2c1f6a6d1}")
	f.Fuzz(func(t *testing.T, text string) {
		p := decodeProgress(progress{Requests: []string{"r"}, Operation: text}.encode())
		id, ok := p.operation()
		if !ok {
			return
		}
		inside := strings.TrimSuffix(strings.TrimPrefix(showOperations([]uuid.UUID{id}), ".show operations ("), ")")
		if len(inside) != 36 || strings.Trim(inside, "0123456789abcdef-") != "" {
			t.Errorf("%q gives %q", text, inside)
		}
	})
}

func TestAsyncOptions(t *testing.T) {
	if _, err := NewClient("http://127.0.0.1:1", nil, &ClientOptions{Async: true, Inline: true, MaxBlobBytes: 1}); !errors.Is(err, ingest.ErrInvalid) ||
		!strings.Contains(err.Error(), "Async") || !strings.Contains(err.Error(), "MaxBlobBytes") {
		t.Errorf("%v", err)
	}
}
