package statushttp

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
)

// A table is said to be sending only where an attempt of it may be under way.
func TestStateOfTable(t *testing.T) {
	said := &ingest.Failure{Class: "transient", Message: "refused"}
	for _, tt := range []struct {
		name   string
		lane   operate.Lane
		atRest bool
		want   string
	}{
		{"sending", operate.Lane{Batches: 2}, false, "→ sending: "},
		{"one sends, one is with the service", operate.Lane{Batches: 2, Awaited: 1}, false, "→ sending: "},
		{"all is with the service", operate.Lane{Batches: 2, Awaited: 2, Open: 5}, false, "… waiting: for the outcome, which the service has not told yet"},
		{"no batch", operate.Lane{Open: 5}, false, "… waiting: for a batch to fill"},
		{"the next attempt", operate.Lane{Batches: 1, Failure: said, Next: at.Add(time.Second)}, false, "… waiting: because an attempt failed"},
		{"outage", operate.Lane{Batches: 1, Failure: said, Unhealthy: "transient"}, false, "… waiting: the destination cannot be reached, or is in trouble"},
		{"outage that it has not met", operate.Lane{Batches: 1, Unhealthy: "transient"}, false, "… waiting: the destination cannot be reached, or is in trouble"},
		{"outage behind what was accepted", operate.Lane{Batches: 3, Awaited: 2, Unhealthy: "transient"}, false, "… waiting: the destination cannot be reached, or is in trouble"},
		{"another destination is down", operate.Lane{Batches: 1, Failure: said}, false, "→ sending: "},
		{"throttled", operate.Lane{Batches: 1, Unhealthy: "throttled"}, false, "… waiting: the destination asks for less"},
		{"unauthorized", operate.Lane{Batches: 1, Unhealthy: "unauthorized"}, false, "… waiting: the destination refuses the permission"},
		{"in doubt", operate.Lane{Batches: 1, Unhealthy: "unknown"}, false, "→ sending: "},
		{"held in an outage", operate.Lane{Batches: 1, Held: true, Unhealthy: "transient"}, false, "■ held: something has to be mended first"},
		{"paused", operate.Lane{Batches: 1, Held: true, Paused: &operate.Paused{Since: at, Reason: "r"}}, false, "‖ paused: since 2026-11-27 12:00:00: r"},
		{"at rest", operate.Lane{Batches: 1, Awaited: 1, Failure: said}, true, "… waiting: no process has the spool open"},
		{"failed", operate.Lane{Batches: 1, Unhealthy: "transient"}, false, "… waiting: the spool has failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sample()
			s.InUse = !tt.atRest
			if tt.name == "failed" {
				s.Failed = "no space left"
			}
			state, sign, why := laneState(&tt.lane, s)
			if got := sign + " " + state + ": " + why; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Each state in which a batch waits for somebody is explained.
func TestStateOfBatch(t *testing.T) {
	for _, s := range ingest.States() {
		explained := batchState(s.String()) != ""
		if want := s == ingest.Sealed || s == ingest.Unknown || s == ingest.Accepted; explained != want {
			t.Errorf("%s: explained %t, want %t", s, explained, want)
		}
	}
}

// However much the service says, its request id is told.
func TestSaid(t *testing.T) {
	got := said(&ingest.Failure{Class: "transient", Code: "503", Message: strings.Repeat("x", 5000) + "\n", RequestID: "r-1\x1b"})
	if want := "transient: 503: " + strings.Repeat("x", 1000) + ` … (4001 bytes more) (request r-1\u001b)`; got != want {
		t.Errorf("%q", got)
	}
	if got := said(&ingest.Failure{Message: strings.Repeat("x", 5000), Code: strings.Repeat("c", 5000), RequestID: strings.Repeat("r", 5000)}); len(got) > 3*maxText {
		t.Errorf("%d bytes", len(got))
	}
	if said(nil) != "" {
		t.Error("nothing was said, and is told")
	}
}

// The figures of the page are those of the status, all of them.
func TestFiguresOfView(t *testing.T) {
	s := sample()
	s.Counters.HandedOver, s.Counters.Dropped = 20, 4
	s.Lanes[1].Blobs = true
	s.Lanes[0].Paused = &operate.Paused{Database: "Demo", Table: "Readings", Since: at}
	s.Paused = append(s.Paused, *s.Lanes[0].Paused)
	s.Cut["lanes"] = 7
	s.Troubles = []operate.Trouble{{Kind: operate.Full, Level: operate.Critical}, {Kind: operate.Damaged, Level: operate.Critical}, {Kind: operate.TablePaused, Level: operate.Warning}, {Kind: operate.Throttled, Level: operate.Note}}
	v := viewOf(&look{status: s}, may{})
	if v.Waiting != 1234 || v.Settled != 290 {
		t.Errorf("%d wait, %d are settled", v.Waiting, v.Settled)
	}
	if v.Critical != 2 || v.Warnings != 1 {
		t.Errorf("%d critical troubles, %d warnings", v.Critical, v.Warnings)
	}
	if v.MoreTabs != 7 {
		t.Errorf("%d more rows", v.MoreTabs)
	}
	var rows []string
	for _, r := range v.Tables {
		rows = append(rows, r.Name+" "+r.Kind+" "+r.Size+" "+r.State)
	}
	want := []string{"Demo.Readings json 5 MiB paused", "Demo.Events csv, blobs by reference  waiting", "Demo.Old   paused"}
	if !slices.Equal(rows, want) {
		t.Errorf("%q", rows)
	}
}

// The title and the rates count all ends of records, and all troubles but those that end by
// themselves.
func TestFiguresOfLook(t *testing.T) {
	s := sample()
	s.Counters.HandedOver, s.Counters.Dropped = 20, 4
	s.Troubles = []operate.Trouble{{Level: operate.Critical}, {Level: operate.Warning}, {Level: operate.Warning}, {Level: operate.Note}}
	spool := &whole{}
	spool.set(func(context.Context) (*operate.Status, error) { return s, nil })
	w := newWatch(spool, time.Second, slog.New(slog.DiscardHandler), may{})
	w.look(t.Context())
	w.asking.Wait()
	l, _ := w.latest()
	if n := l.troubles(); n != 3 {
		t.Errorf("%d troubles", n)
	}
	if p := w.short.points[0]; p.acked != 1500 || p.settled != 290 || p.records != 1234 || p.age != 90 {
		t.Errorf("%+v", p)
	}
}

// What became of an action is told for a minute, to who has its key.
func TestToldForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := newTold()
		key := told.keep(message{Text: "done"})
		if m := told.of(local("GET", "/?told="+key, "")); m == nil || m.Text != "done" {
			t.Errorf("%+v", m)
		}
		if m := told.of(local("GET", "/?told="+key+"x", "")); m != nil {
			t.Errorf("%+v", m)
		}
		time.Sleep(toldFor)
		if m := told.of(local("GET", "/?told="+key, "")); m != nil {
			t.Errorf("%+v", m)
		}
	})
}

// Without a script the page comes again by itself, with the charts that were chosen, and
// without what an action said.
func TestReload(t *testing.T) {
	for _, tt := range []struct {
		every time.Duration
		path  string
		want  string
	}{
		{0, "/", "5; url=./?range=15m"},
		{0, "/?range=24h&told=x", "5; url=./?range=24h"},
		{20500 * time.Millisecond, "/?range=nonsense", "21; url=./?range=15m"},
	} {
		p := open(t, &whole{}, &Options{Every: tt.every})
		if body := bodyOf(t, serve(p, local("GET", tt.path, ""))); !strings.Contains(body, `<noscript><meta http-equiv="refresh" content="`+tt.want+`"></noscript>`) {
			t.Errorf("%s: %s", tt.path, body[:min(len(body), 800)])
		}
	}
}
