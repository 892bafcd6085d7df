package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/crash"
	"kustospool/internal/testutil/ledger"
)

// closedTable is a table for which the service refuses all data for good.
const closedTable = "Closed"

// dealer is what makes dead letters and deals with them, until it is killed.
type dealer struct {
	c *crash.Child
	s handler
}

// handler is a spool in use, or at rest.
type handler interface {
	DeadLetters() func(func(engine.DeadLetter, error) bool)
	OpenDeadLetter(ingest.BatchID) (io.ReadCloser, error)
	RetryDeadLetter(context.Context, ingest.BatchID, *engine.Retry) (engine.Retried, error)
	RemoveDeadLetter(ingest.BatchID) error
}

type inUse struct{ *engine.Spool }

func (u inUse) DeadLetters() func(func(engine.DeadLetter, error) bool) { return u.Spool.DeadLetters() }

type atRest struct{ *engine.Idle }

func (r atRest) DeadLetters() func(func(engine.DeadLetter, error) bool) { return r.Idle.DeadLetters() }

// dealers is a child whose arguments are the spool's directory, the endpoint, the
// round, and how it works: "use" the spool, find it at "rest", or by a planted
// fault, "twice" or "lost".
func dealers(c *crash.Child) {
	dir, endpoint, round, how := c.Args[0], c.Args[1], c.Args[2], c.Args[3]
	if how == "rest" {
		idle, err := engine.OpenIdle(dir, quick())
		if err != nil {
			c.Fatalf("open: %v", err)
		}
		(&dealer{c, atRest{idle}}).deal(nil)
		if err := idle.Close(); err != nil {
			c.Fatalf("close: %v", err)
		}
		return
	}
	s, err := openQueued(dir, endpoint, quick())
	if err != nil {
		c.Fatalf("open: %v", err)
	}
	d := &dealer{c, inUse{s}}
	closed := telemetry
	closed.Table = closedTable
	table, err := s.Table(telemetry)
	if err != nil {
		c.Fatalf("table: %v", err)
	}
	for n := 0; ; n++ {
		// Half of them are refused by the service, and half are no records.
		text := fmt.Sprintf(`{"round":%s,"n":%d}`, round, n)
		c.Try(text)
		var r ingest.Receipt
		if n%2 == 0 {
			r, err = s.Ingest(context.Background(), &ingest.Request{Properties: closed, Data: []byte(text)})
		} else {
			var rs []ingest.Receipt
			if rs, err = table.DeadLetter(context.Background(), engine.Refused{Data: []byte(strings.TrimSuffix(text, "}")), Why: "torn"}); err == nil {
				r = rs[0]
			}
		}
		if err != nil {
			c.Fatalf("ingest: %v", err)
		}
		c.Ack(r.String(), text)
		if st, err := s.Wait(context.Background(), r.ID); err != nil || st.State != ingest.DeadLettered {
			c.Fatalf("%s is no dead letter: %+v, %v", text, st, err)
		}
		if n%4 == 3 {
			switch how {
			case "twice":
				d.deal(func(dead *engine.DeadLetter, text string) error {
					if _, err := s.Ingest(context.Background(), &ingest.Request{Properties: telemetry, Data: []byte(text)}); err != nil {
						return err
					}
					crashpoint.Reach("planted")
					return s.RemoveDeadLetter(dead.Batch.ID)
				})
			case "lost":
				d.deal(func(dead *engine.DeadLetter, text string) error {
					if err := s.RemoveDeadLetter(dead.Batch.ID); err != nil {
						return err
					}
					crashpoint.Reach("planted")
					_, err := s.Ingest(context.Background(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
					return err
				})
			default:
				d.deal(nil)
			}
		}
	}
}

// deal deals with all dead letters: by their text, some are left where they are,
// some are dropped, and the others are retried, repaired where they must be.
func (d *dealer) deal(instead func(*engine.DeadLetter, string) error) {
	for dead, err := range d.s.DeadLetters() {
		if err != nil {
			d.c.Fatalf("dead letters: %v", err)
		}
		in, err := d.s.OpenDeadLetter(dead.Batch.ID)
		if err != nil {
			d.c.Fatalf("opening a dead letter: %v", err)
		}
		data, err := io.ReadAll(in)
		if err = errors.Join(err, in.Close()); err != nil {
			d.c.Fatalf("reading a dead letter: %v", err)
		}
		text := deadText(data)
		h := fnv.New32()
		h.Write([]byte(text))
		switch fate := h.Sum32() % 8; {
		case fate == 0:
		case instead != nil:
			err = instead(&dead, text)
		case fate <= 2:
			d.each("drop ", text)
			if err = d.s.RemoveDeadLetter(dead.Batch.ID); err == nil {
				d.each("dropped ", text)
			}
		default:
			// What the closed table has refused is not in it, whatever is in doubt.
			how := &engine.Retry{Table: tableName, AcceptDoubles: true}
			if strings.TrimSpace(string(data)) != text {
				how.Records = strings.NewReader(text)
			}
			_, err = d.s.RetryDeadLetter(context.Background(), dead.Batch.ID, how)
		}
		if err != nil {
			d.c.Fatalf("dealing with %s: %v", text, err)
		}
	}
}

// each says something of each record.
func (d *dealer) each(what, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		d.c.Say(what + line)
	}
}

// deadText are the records that a dead letter stands for, a line each. One that is
// torn is alone.
func deadText(data []byte) string {
	return strings.TrimSuffix(strings.TrimSpace(string(data)), "}") + "}"
}

// dealPoints are the steps in which a dead letter is made or dealt with.
var dealPoints = []string{"retry.stored", "handled.renamed", "handled.payload", "handled.gone", "unlink.removed", "deadletter.payload",
	"deadletter.written", "append.committed", "wal.written", "wal.synced", "settle", "seal"}

// TestKillDeadLetters kills the process that makes dead letters and retries or
// drops them, at each of its steps, on a spool in use and at rest; the next one
// goes on. In the end every record is in one place: a row, once, a dead letter
// that waits, or dropped.
func TestKillDeadLetters(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds; -short")
	}
	n := rounds(t, 20)
	rng := crash.Seed(t)
	sim := startClosed(t)
	dir := t.TempDir()
	k := &killed{}
	at := map[string]int{}
	for round := range n {
		o := crash.Options{Program: "dealers", KillAfter: 5 * time.Second, Point: dealPoints[(round+rng.IntN(2))%len(dealPoints)], Nth: 1 + rng.IntN(3)}
		mode := "use"
		if round%5 == 4 {
			mode = "rest"
			o.Point, o.Nth = dealPoints[rng.IntN(5)], 1
		}
		o.Args = []string{dir, sim.Endpoint(), strconv.Itoa(round), mode}
		r := crash.Run(t, o)
		k.hear(r)
		if r.Reached {
			at[o.Point]++
		}
	}
	s := mustOpen(t, dir, sim.Endpoint(), quick())
	drain(t, s, time.Minute)
	conserved(t, s)
	found := k.places(t, s, sim)
	if err := k.books.Check(found, ledger.ExactlyOnce).Err(); err != nil {
		t.Fatal(err)
	}
	if len(s.Positions()) != 0 {
		t.Errorf("positions are left: %v", s.Positions())
	}
	files, err := os.ReadDir(filepath.Join(dir, "dead"))
	if st := s.Stats().DeadLetters; err != nil || len(files) != 2*int(st.Waiting) || int(st.Waiting) != k.waiting {
		t.Errorf("%d files in dead/, %v; %+v", len(files), err, st)
	}
	t.Logf("%d kills (%v): %d records dead-lettered; %d rows, %d dropped, %d wait; %+v", n, at, k.books.Len(), len(found.Ingested), len(found.Dropped), len(found.DeadLettered), s.Stats().DeadLetters)
	if len(found.Ingested) == 0 || len(found.Dropped) == 0 || len(at) < min(n/5, len(dealPoints)/2) {
		t.Error("the campaign did not reach what it is for")
	}
	// The control of the books: a row that is missing, and one that is there twice.
	short := found
	short.Ingested = slices.Clone(found.Ingested[1:])
	if k.books.Check(short, ledger.ExactlyOnce).Err() == nil {
		t.Error("a missing row is not seen")
	}
}

// TestKillDeadLettersIsSeen: the control. A program that stores the records and
// removes the dead letter by itself doubles or loses them when it is killed
// between the two, and the campaign sees it.
func TestKillDeadLettersIsSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds; -short")
	}
	// What is there twice is a row twice, or a row and a dead letter that the second
	// round did not come to.
	for fault, words := range map[string][]string{"twice": {"duplicated", "in two places"}, "lost": {"missing"}} {
		t.Run(fault, func(t *testing.T) {
			sim := startClosed(t)
			dir := t.TempDir()
			k := &killed{}
			for round := range 2 {
				k.hear(crash.Run(t, crash.Options{Program: "dealers", Point: "planted", Nth: 1, KillAfter: 5 * time.Second,
					Args: []string{dir, sim.Endpoint(), strconv.Itoa(round), fault}}))
			}
			s := mustOpen(t, dir, sim.Endpoint(), quick())
			drain(t, s, time.Minute)
			if err := k.books.Check(k.places(t, s, sim), ledger.ExactlyOnce).Err(); err == nil || !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) }) {
				t.Errorf("the books say %v", err)
			}
		})
	}
}

func startClosed(t *testing.T) *kustosim.Sim {
	sim := startSim(t, nil)
	if err := sim.CreateTable(database, closedTable); err != nil {
		t.Fatal(err)
	}
	sim.IngestFault(database, closedTable, kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: "BadRequest_Closed"})
	return sim
}

// killed is what the children said.
type killed struct {
	books         ledger.Ledger
	drop, dropped []string // begun, and done
	waiting       int      // dead letters that places has found
}

func (k *killed) hear(r *crash.Result) {
	r.Book(&k.books)
	for _, said := range r.Said {
		if text, ok := strings.CutPrefix(said, "drop "); ok {
			k.drop = append(k.drop, text)
		} else if text, ok := strings.CutPrefix(said, "dropped "); ok {
			k.dropped = append(k.dropped, text)
		}
	}
}

// places finds every record. One whose removal was begun is dropped if it is
// nowhere else.
func (k *killed) places(t *testing.T, s *engine.Spool, sim *kustosim.Sim) ledger.Places {
	t.Helper()
	found := ledger.Places{Ingested: rowTexts(sim)}
	for d, err := range s.DeadLetters() {
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.OpenDeadLetter(d.Batch.ID)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err = errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		found.DeadLettered = append(found.DeadLettered, strings.Split(deadText(data), "\n")...)
		k.waiting++
	}
	found.Dropped = slices.Clone(k.dropped)
	slices.Sort(k.drop)
	for _, text := range slices.Compact(k.drop) {
		if !slices.Contains(found.Dropped, text) && !slices.Contains(found.Ingested, text) && !slices.Contains(found.DeadLettered, text) {
			found.Dropped = append(found.Dropped, text)
		}
	}
	return found
}
