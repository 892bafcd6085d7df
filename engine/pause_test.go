package engine_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

var pausedTable = engine.TableName{Database: "Demo", Table: "Telemetry"}

// A table that is paused takes records and sends none, through a restart and without a
// word against its neighbours, until it is resumed; then all of it arrives once.
func TestAPausedTableWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		other := telemetry
		other.Table = "Other"
		s := open(t, dir, fake, soon())
		begun := time.Now().UTC()
		if _, err := s.Pause(pausedTable, "schema change"); err != nil {
			t.Fatal(err)
		}
		put(t, s, telemetry, rows(5)...)
		put(t, s, other, rows(5)...)
		time.Sleep(time.Minute)
		if again, err := s.Pause(pausedTable, "still"); err != nil || !again.Since.Equal(begun) || again.Reason != "still" {
			t.Fatalf("%+v, %v", again, err)
		}
		check := func(s *engine.Spool) {
			t.Helper()
			sameRows(t, fake.Rows(transporttest.TableOf(telemetry)), nil)
			sameRows(t, fake.Rows(transporttest.TableOf(other)), rows(5))
			st := s.Stats()
			if len(st.Paused) != 1 || st.Paused[0] != (engine.Pause{Table: pausedTable, Since: begun, Reason: "still"}) {
				t.Fatalf("paused: %+v", st.Paused)
			}
			for _, l := range st.Lanes {
				if want := l.Properties.Table == "Telemetry"; (l.Paused != nil) != want || l.Held {
					t.Errorf("%s: paused %v, held %v", l.Name(), l.Paused, l.Held)
				}
			}
		}
		check(s)
		if st := s.Stats(); st.Batches.Sealed != 1 || st.Waiting.Open != 0 {
			t.Errorf("the records are in no batch: %+v", st.Batches)
		}
		if _, err := s.Retry(pausedTable); !errors.Is(err, engine.ErrPaused) {
			t.Errorf("retry of a paused table: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		v, err := engine.Look(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if st := v.Stats(); len(st.Paused) != 1 || st.Backlogged()[0].Paused == nil {
			t.Errorf("at rest: %+v", st.Paused)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, fake, soon())
		time.Sleep(time.Minute)
		check(s)
		if was, err := s.Resume(pausedTable); !was || err != nil {
			t.Fatal(was, err)
		}
		if was, err := s.Resume(pausedTable); was || err != nil {
			t.Fatal(was, err)
		}
		drain(t, s)
		sameRows(t, fake.Rows(transporttest.TableOf(telemetry)), rows(5))
		if st := s.Stats(); len(st.Paused) > 0 || st.Lanes[0].Paused != nil {
			t.Errorf("still paused: %+v", st.Paused)
		}
		conserved(t, s)
	})
}

// Retry has the next attempt made now, of the table that is held and of the destination
// that is down; without it the pauses are long.
func TestRetryDoesNotWait(t *testing.T) {
	for _, class := range []transport.Class{transport.Held, transport.Transient, transport.Throttled} {
		for _, retry := range []bool{false, true} {
			t.Run(class.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := transporttest.NewFake()
					fake.Down(transporttest.Fail(class))
					o := soon()
					o.RetryMin, o.RetryMax = time.Hour, 10*time.Hour
					s := open(t, t.TempDir(), fake, o)
					put(t, s, telemetry, row(1))
					time.Sleep(50 * time.Hour)
					for range 3 { // each time one attempt, which fails
						before := s.Stats().Attempts
						if n, err := s.Retry(pausedTable); n != 1 || err != nil {
							t.Fatal(n, err)
						}
						time.Sleep(time.Second)
						if made := s.Stats().Attempts - before; made != 1 {
							t.Errorf("%d attempts", made)
						}
					}
					fake.Down(nil)
					if retry {
						if _, err := s.Retry(pausedTable); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Minute)
					if got := len(fake.AllRows()) == 1; got != retry {
						t.Errorf("after a minute, with retry %v: arrived %v", retry, got)
					}
					drainAtLast(t, s)
					sameRows(t, fake.AllRows(), []string{row(1)})
				})
			})
		}
	}
}

// drainAtLast waits for pauses of any length.
func drainAtLast(t *testing.T, s *engine.Spool) {
	t.Helper()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPauseRefusesWhatBreaksARule(t *testing.T) {
	fake := transporttest.NewFake()
	s := open(t, t.TempDir(), fake, soon())
	for _, bad := range []engine.TableName{{}, {Database: "D"}, {Table: "T"}, {Database: "D", Table: "a/b"}} {
		_, err := s.Pause(bad, "")
		isInvalid(t, err, "")
		_, err = s.Resume(bad)
		isInvalid(t, err, "")
		_, err = s.Retry(bad)
		isInvalid(t, err, "")
	}
	_, err := s.Pause(pausedTable, strings.Repeat("x", 257))
	isInvalid(t, err, "reason")
	if n, err := s.Retry(pausedTable); n != 0 || err != nil {
		t.Errorf("retry of a table without batches: %d, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pause(pausedTable, ""); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Resume(pausedTable); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Retry(pausedTable); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
}
