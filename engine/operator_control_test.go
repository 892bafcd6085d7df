package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// The same calls, by the socket of a spool in use and of one at rest, with what each can.
func TestControl(t *testing.T) {
	dir, fake := shortDir(t), transporttest.NewFake()
	fake.Down(&transport.Error{Class: transport.Held, Op: "send", Code: "Held", Message: "no table"})
	o := soon()
	o.NoSocket, o.RetryMin, o.RetryMax = false, time.Hour, time.Hour
	o.Batch.MaxAge = time.Hour // one batch, however slow the machine is
	s := open(t, dir, fake, o)
	put(t, s, telemetry, rows(3)...)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for !s.Stats().Lanes[0].Held {
		runtime.Gosched()
	}
	pauses := func(c operate.Controller, inUse bool) {
		t.Helper()
		ctx := t.Context()
		p, err := c.Pause(ctx, operate.PauseQuery{Table: "Telemetry", Reason: "schema change"})
		if err != nil || p.Database != "Demo" || p.Table != "Telemetry" || p.Reason != "schema change" || time.Since(p.Since) > time.Minute {
			t.Fatalf("%+v, %v", p, err)
		}
		if again, err := c.Pause(ctx, operate.PauseQuery{Table: "Demo.Telemetry"}); err != nil || !again.Since.Equal(p.Since) || again.Reason != "" {
			t.Errorf("%+v, %v", again, err)
		}
		if _, err := c.Retry(ctx, operate.TableQuery{Table: "Telemetry"}); inUse && (!errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), "is paused")) {
			t.Errorf("retry of a paused table: %v", err)
		}
		for _, was := range []bool{true, false} {
			if r, err := c.Resume(ctx, operate.TableQuery{Table: "Telemetry"}); err != nil || r.Was != was {
				t.Errorf("%+v, %v, want was %v", r, err, was)
			}
		}
		if r, err := c.Retry(ctx, operate.TableQuery{Table: "Telemetry"}); err != nil || r.InUse != inUse || r.Batches != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		for _, bad := range []string{"", "Nowhere", "Other.Telemetry"} {
			if _, err := c.Pause(ctx, operate.PauseQuery{Table: bad}); !errors.Is(err, ingest.ErrInvalid) {
				t.Errorf("table %q: %v", bad, err)
			}
		}
		if _, err := c.Pause(ctx, operate.PauseQuery{Table: "Telemetry", Reason: strings.Repeat("x", 300)}); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("a long reason: %v", err)
		}
	}
	pauses(asked(t, dir), true)
	atRest := engine.ControlAtRest(dir, &engine.Options{LockTimeout: 1})
	if _, err := atRest.Resume(t.Context(), operate.TableQuery{Table: "Telemetry"}); !errors.As(err, new(*engine.LockedError)) {
		t.Errorf("of a spool in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	pauses(atRest, false)
}

// A check by the socket: how far it is, one at a time, its report, and its end with the spool.
func TestCheckBySocket(t *testing.T) {
	dir, fake := shortDir(t), transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	o := soon()
	o.NoSocket = false
	s := open(t, dir, fake, o)
	for range 40 {
		put(t, s, telemetry, `{"x":"`+strings.Repeat("x", 100<<10)+`"}`)
	}
	c := asked(t, dir)
	now, err := c.StartCheck(t.Context())
	for err == nil && !now.Done {
		now, err = c.Check(t.Context(), operate.CheckQuery{ID: now.ID})
	}
	if err != nil || now.Error != "" || now.Records != 40 || now.Bytes == 0 || now.Total == 0 {
		t.Fatalf("%+v, %v", now, err)
	}
	var report engine.CheckReport
	if err := json.Unmarshal(now.Report, &report); err != nil || !report.Sound() || report.Records.Read != 40 || report.Records.Waiting != 40 {
		t.Errorf("%+v, %v", report, err)
	}
	adds(t, &report)
	var refused *operate.Error
	if _, err := c.Check(t.Context(), operate.CheckQuery{ID: now.ID + 1}); !errors.As(err, &refused) || refused.Code != operate.NotFound {
		t.Errorf("another check: %v", err)
	}
	op := s.Operator().(operate.Checker)
	if _, err := op.StartCheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := op.StartCheck(context.Background()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("of a closed spool: %v", err)
	}
}
