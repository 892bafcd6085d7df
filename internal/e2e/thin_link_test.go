package e2e_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/netfault"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/queued"
)

// alarms is the table whose records do not wait.
var alarms = ingest.Properties{Database: database, Table: "Alarms", Format: ingest.JSON}

// watched is a queued client that sees when the queue accepts a batch of alarms,
// and of which batches the bytes on the wire are.
type watched struct {
	*queued.Client
	begun time.Time // what was sealed before is the backlog

	mu       sync.Mutex           // guards what follows
	accepted map[uint64]time.Time // by the number of the alarm
	kinds    map[string]string    // of batches, by their id
	bytes    map[string]int64     // acknowledged, by kind
}

func (w *watched) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	kind := "fresh"
	switch {
	case d.Batch.Properties.Table == alarms.Table:
		kind = "alarm"
	case d.Batch.SealedAt.Before(w.begun):
		kind = "backlog"
	}
	w.mu.Lock()
	w.kinds[d.Batch.ID.String()] = kind
	w.mu.Unlock()
	ack, err := w.Client.Send(ctx, d)
	if err == nil && kind == "alarm" {
		w.mu.Lock()
		for n := d.Batch.First; n <= d.Batch.Last; n++ {
			w.accepted[n] = time.Now()
		}
		w.mu.Unlock()
	}
	return ack, err
}

// counter counts the bodies that were answered, by the batch in the path.
type counter struct {
	next http.RoundTripper
	w    *watched
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	size := r.ContentLength
	resp, err := c.next.RoundTrip(r)
	if err == nil && resp.StatusCode < 300 && size > 0 {
		c.w.mu.Lock()
		for id, kind := range c.w.kinds {
			if strings.Contains(r.URL.Path, id) {
				c.w.bytes[kind] += size
			}
		}
		c.w.mu.Unlock()
	}
	return resp, err
}

// noise is a record that no compression makes much smaller.
func noise(r *rand.Rand, n int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"v":"%016x%016x%016x%016x"}`, n, r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
}

// On a link of 256 kbit/s and 300 ms there and back, with a backlog and more fresh data
// than the link carries, an alarm is with the queue within 5 seconds of its Ingest,
// and the backlog has a quarter of the link at least. The control is the same in
// the order of acceptance, where alarms come too late.
//
// In full (LINK=full, 7 minutes) a million records wait.
func TestAlarmOverAThinLink(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the link does: not with -short")
	}
	full := os.Getenv("LINK") == "full"
	for _, tc := range []struct {
		name    string
		alarms  engine.TableOptions
		order   engine.Order
		control bool
	}{
		{"alarms and fresh first", engine.TableOptions{Class: engine.ClassAlarm, Batch: batching.Policy{MaxAge: 100 * time.Millisecond}}, engine.FreshFirst, false},
		{"control: in order of acceptance", engine.TableOptions{Batch: batching.Policy{MaxAge: 100 * time.Millisecond}}, engine.OldestFirst, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			backlog, batchBytes, lasts := 20_000, int64(64<<10), 24*time.Second
			if tc.control {
				batchBytes, lasts = 256<<10, 8*time.Second
			}
			if full {
				backlog, batchBytes, lasts = 1_000_000, 8<<20, 6*time.Minute
			}
			link := netfault.NewDialer(256_000/8, 150*time.Millisecond)
			defer link.Close()
			sim := startSim(t, nil)
			if err := sim.CreateTable(database, alarms.Table); err != nil {
				t.Fatal(err)
			}
			w := &watched{accepted: map[uint64]time.Time{}, kinds: map[string]string{}, bytes: map[string]int64{}}
			wire := &http.Transport{DialContext: link.DialContext, MaxIdleConnsPerHost: 16}
			defer wire.CloseIdleConnections()
			o := &queued.ClientOptions{TrackInterval: 5 * time.Second}
			o.Transport = &http.Client{Transport: &counter{wire, w}}
			var err error
			if w.Client, err = queued.NewClient(sim.Endpoint(), nil, o); err != nil {
				t.Fatal(err)
			}
			// The backlog is sealed before the link is there.
			dir := t.TempDir()
			opts := &engine.Options{Batch: batching.Policy{MaxBytes: batchBytes, MaxAge: time.Second}, Order: tc.order, FreshFor: 3 * time.Second,
				Tables: map[engine.TableName]engine.TableOptions{{Database: database, Table: alarms.Table}: tc.alarms}}
			fill(t, dir, opts, backlog)
			w.begun = time.Now()
			if !tc.control {
				<-time.After(opts.FreshFor) // the backlog is not fresh any more
			}
			s := simspool.Open(t, dir, w, opts)

			// What comes while the client learns the cluster's addresses is not counted.
			counted := time.Now().Add(6 * time.Second)
			if tc.control {
				counted = time.Now()
			}
			ingested := map[uint64]time.Time{}
			seed := rand.New(rand.NewPCG(1, 1))
			fresh, alarm := time.NewTicker(250*time.Millisecond), time.NewTicker(500*time.Millisecond)
			defer fresh.Stop()
			defer alarm.Stop()
			for end := time.After(lasts); end != nil; {
				select {
				case <-fresh.C: // 12 kB, so 48 a second where the link has 32
					var some []*ingest.Request
					for n := range 160 {
						some = append(some, &ingest.Request{Properties: telemetry, Data: noise(seed, n)})
					}
					if _, err := s.IngestAll(t.Context(), some); err != nil {
						t.Fatal(err)
					}
				case <-alarm.C:
					at := time.Now()
					rcpt, err := s.Ingest(t.Context(), &ingest.Request{Properties: alarms, Data: []byte(`{"alarm":"fire"}`)})
					if err != nil {
						t.Fatal(err)
					}
					if at.After(counted) {
						ingested[rcpt.ID.Seq()] = at
					}
				case <-end:
					end = nil
				}
			}
			now := time.Now()
			w.mu.Lock()
			defer w.mu.Unlock()
			var took []time.Duration
			late := 0
			for n, at := range ingested {
				d := now.Sub(at)
				if end, ok := w.accepted[n]; ok {
					d = end.Sub(at)
					took = append(took, d)
				}
				if d > 5*time.Second {
					late++
				}
			}
			slices.Sort(took)
			total := w.bytes["backlog"] + w.bytes["fresh"] + w.bytes["alarm"]
			share := float64(w.bytes["backlog"]) / float64(max(total, 1))
			carried, _ := link.Carried()
			t.Logf("%d alarms, %d accepted, %d later than 5s; bytes %v, backlog %.2f of them; %d bytes carried in %v", len(ingested), len(took), late, w.bytes, share, carried, lasts)
			if len(took) > 0 {
				t.Logf("accepted after: median %v, p99 %v, most %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
			}
			if tc.control {
				if late*2 < len(ingested)/4 {
					t.Errorf("in the order of acceptance only %d of %d alarms are late, so this test sees nothing", late, len(ingested))
				}
				return
			}
			if late*100 > len(ingested) {
				t.Errorf("%d of %d alarms were not accepted within 5s", late, len(ingested))
			}
			if share < 0.25 {
				t.Errorf("the backlog has %.2f of the link", share)
			}
			// In full the batches of the backlog take minutes each, too few to tell more.
			if !full && w.bytes["fresh"] < w.bytes["backlog"] {
				t.Errorf("what is fresh has less of the link than the backlog: %v", w.bytes)
			}
			if st := s.Stats(); st.Waiting.Records < int64(backlog)/10 {
				t.Errorf("%d records wait at the end: the backlog was too small to see anything", st.Waiting.Records)
			}
		})
	}
}

// fill makes a backlog of sealed batches in a spool.
func fill(t *testing.T, dir string, opts *engine.Options, records int) {
	t.Helper()
	s, err := engine.Open(dir, away{}, opts)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for n := 0; n < records; {
		var some []*ingest.Request
		for range min(1000, records-n) {
			some = append(some, &ingest.Request{Properties: telemetry, Data: noise(r, n)})
			n++
		}
		if _, err := s.IngestAll(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// away is a destination that cannot be reached.
type away struct{}

func (away) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }

func (away) Send(context.Context, *transport.Delivery) (transport.Ack, error) {
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Err: io.ErrUnexpectedEOF}
}
