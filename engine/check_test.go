package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// adds checks that a report adds up, by file and by table.
func adds(t *testing.T, r *engine.CheckReport) {
	t.Helper()
	var files, tables engine.Tally
	sum := func(into *engine.Tally, one engine.Tally) {
		into.Read += one.Read
		into.Good += one.Good
		into.Bad += one.Bad
		into.Waiting += one.Waiting
		into.BadWaiting += one.BadWaiting
		into.Bytes += one.Bytes
	}
	for _, f := range r.Files {
		sum(&files, f.Tally)
	}
	for _, f := range r.Tables {
		sum(&tables, f.Tally)
	}
	if files != r.Records || tables != r.Records || r.Records.Read != r.Records.Good+r.Records.Bad || r.Dead.Read != r.Dead.Good+r.Dead.Bad {
		t.Errorf("it does not add up: %+v, by file %+v, by table %+v, letters %+v", r.Records, files, tables, r.Dead)
	}
}

// A check of a spool that takes records, delivers them and gives segments back finds
// nothing wrong, and tells of each record that it began with once: as read or as gone.
func TestACheckOfASpoolInUseIsOfOneMoment(t *testing.T) {
	fake := transporttest.NewFake()
	o := soon()
	o.SegmentBytes, o.Batch.MaxRecords = 64<<10, 50
	s := open(t, t.TempDir(), fake, o)
	record := `{"text":"` + strings.Repeat("x", 500) + `"}`
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	for range 2 {
		writing.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Ingest(ctx, request(telemetry, record)); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	records := int64(5000)
	if testing.Short() {
		records = 1000
	}
	var gone, waiting int64
	for s.Stats().Acked < records {
		r, err := s.Check(t.Context(), &engine.CheckOptions{BytesPerSecond: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		adds(t, r)
		if !r.Sound() {
			t.Fatalf("%+v %v", r.Records, r.Books)
		}
		gone += r.Gone
		waiting += r.Records.Waiting
	}
	t.Logf("%d records that waited were read, %d were gone before", waiting, gone)
	if waiting == 0 {
		t.Error("no check met a record that waits")
	}
}

// What is damaged under a spool in use is found, by file and table, and nothing is changed.
func TestACheckOfASpoolInUseFindsDamage(t *testing.T) {
	dir, fake := t.TempDir(), transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	s := open(t, dir, fake, soon())
	put(t, s, telemetry, rows(20)...)
	spoil(t, dir, `"n":7,`)
	told := 0
	r, err := s.Check(t.Context(), &engine.CheckOptions{Progress: func(p engine.CheckProgress) {
		told++
		if p.Total == 0 || p.Bytes > p.Total {
			t.Errorf("%+v", p)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	adds(t, r)
	if c := r.Records; c.Read != 20 || c.Bad != 1 || c.BadWaiting != 1 || r.Sound() || told == 0 || r.Tables[0].Table != "Telemetry" || r.Files[0].Error == "" {
		t.Errorf("%+v, told %d times", r, told)
	}
	fake.Down(nil)
	drain(t, s)
	if st := s.Stats(); st.Settled.DeadLettered != 1 || st.Settled.Ingested != 19 {
		t.Errorf("%+v", st.Settled)
	}
	r, err = s.Check(t.Context(), nil)
	if err != nil || r.Dead.Read != 1 || r.Dead.Good != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A check ends with its context, also while it waits because it was too fast.
func TestACheckEndsWithItsContext(t *testing.T) {
	fake := transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	o := soon()
	s := open(t, t.TempDir(), fake, o)
	for range 40 {
		put(t, s, telemetry, `{"x":"`+strings.Repeat("x", 100<<10)+`"}`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := s.Check(ctx, &engine.CheckOptions{BytesPerSecond: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), nil); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
}
