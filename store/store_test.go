package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/store/internal/ledger"
)

func TestMain(m *testing.M) {
	runChild() // does not return in a child process
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

func jsonTable(table string) *ingest.Properties {
	return &ingest.Properties{Database: "db", Table: table, Format: ingest.JSON}
}

func openStore(t testing.TB, dir string, opts *store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(dir, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func reopen(t testing.TB, s *store.Store, dir string, opts *store.Options) *store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return openStore(t, dir, opts)
}

func laneOf(t testing.TB, s *store.Store, p *ingest.Properties) uint32 {
	t.Helper()
	lane, err := s.Lane(ctx, p, store.FrameLimit{})
	if err != nil {
		t.Fatalf("Lane: %v", err)
	}
	return lane
}

func appendOne(t testing.TB, s *store.Store, lane uint32, data string) uint64 {
	t.Helper()
	a, err := s.AppendOne(ctx, lane, []byte(data), "")
	if err != nil {
		t.Fatalf("AppendOne: %v", err)
	}
	return a.Seq
}

// sealAll seals everything that is open, a batch for each lane and gap.
func sealAll(t testing.TB, s *store.Store) []store.Entry {
	t.Helper()
	var seals []store.Seal
	for f, err := range s.Unsealed() {
		if err != nil {
			t.Fatalf("Unsealed: %v", err)
		}
		if n := len(seals); n > 0 && seals[n-1].Lane == f.Lane && seals[n-1].Last+1 == f.First {
			seals[n-1].Last = f.Last
			seals[n-1].Bytes += f.Bytes
			continue
		}
		seals = append(seals, store.Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes,
			Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	entries, err := s.Seal(ctx, seals)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return entries
}

func move(t testing.TB, s *store.Store, id ingest.BatchID, from, to ingest.State) store.Entry {
	t.Helper()
	e, err := s.Transition(ctx, id, from, func(e *store.Entry) { e.State = to })
	if err != nil {
		t.Fatalf("Transition %s -> %s: %v", from, to, err)
	}
	return e
}

func settle(t testing.TB, s *store.Store, id ingest.BatchID) {
	t.Helper()
	move(t, s, id, ingest.Sealed, ingest.Sending)
	move(t, s, id, ingest.Sending, ingest.Succeeded)
}

func payloadOf(t testing.TB, s *store.Store, b *ingest.Batch) string {
	t.Helper()
	p := s.Payload(b)
	r := p.Open()
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("payload of %d..%d: %v", b.First, b.Last, err)
	}
	if int64(len(data)) != p.Size() {
		t.Fatalf("payload has %d bytes, Size says %d", len(data), p.Size())
	}
	return string(data)
}

// checkBooks asserts the conservation law.
func checkBooks(t testing.TB, s *store.Store) store.Stats {
	t.Helper()
	st := s.Stats()
	if sum := st.Open + st.Sealed + st.Ingested + st.Skipped + st.HandedOver + st.DeadLettered + st.Dropped; sum != st.Acked {
		t.Fatalf("books do not balance: %d acked, %d accounted for: %+v", st.Acked, sum, st)
	}
	return st
}

func TestLifeOfABatch(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	a, b := laneOf(t, s, jsonTable("a")), laneOf(t, s, jsonTable("b"))
	if again := laneOf(t, s, jsonTable("a")); again != a || a == b {
		t.Fatalf("lanes %d, %d, %d", a, b, again)
	}
	got, err := s.Append(ctx, []store.Record{{Lane: a, Data: []byte("a1")}, {Lane: b, Data: []byte("b1")}, {Lane: a, Data: []byte("a2")}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 1, 2} {
		if got[i].Seq != want || got[i].Duplicate {
			t.Errorf("record %d: %+v, want %d", i, got[i], want)
		}
	}
	if seq := appendOne(t, s, a, "a3"); seq != 3 {
		t.Errorf("a3 has number %d", seq)
	}
	if e, err := s.Find(a, 3); err != nil || e.State != ingest.Open {
		t.Errorf("Find before the seal: %+v, %v", e, err)
	}
	entries := sealAll(t, s)
	if len(entries) != 2 || len(s.Live()) != 2 {
		t.Fatalf("%d batches, %d live", len(entries), len(s.Live()))
	}
	if p := payloadOf(t, s, &entries[0].Batch); p != "a1\na2\na3\n" {
		t.Errorf("payload %q", p)
	}
	checkBooks(t, s)

	s = reopen(t, s, dir, nil)
	e, ok := s.Entry(entries[0].Batch.ID)
	if !ok || e.Batch.IngestBy() != entries[0].Batch.IngestBy() || !e.Batch.SealedAt.Equal(entries[0].Batch.SealedAt) {
		t.Fatalf("after reopening: %+v, want %+v", e, entries[0])
	}
	if p := payloadOf(t, s, &e.Batch); p != "a1\na2\na3\n" {
		t.Errorf("payload after reopening %q", p)
	}
	settle(t, s, e.Batch.ID)
	if _, ok := s.Entry(e.Batch.ID); ok {
		t.Error("a settled batch is still live")
	}
	for seq := uint64(1); seq <= 3; seq++ {
		if e, err := s.Find(a, seq); err != nil || e.State != ingest.Succeeded {
			t.Errorf("Find %d: %v, %v", seq, e.State, err)
		}
	}
	if _, err := s.Find(a, 4); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Find of a number never given: %v", err)
	}
	st := checkBooks(t, s)
	if st.Ingested != 3 || st.Sealed != 1 || st.Acked != 4 || st.BatchesIngested != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestTransitionIsCompareAndSet(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
	id := sealAll(t, s)[0].Batch.ID
	for _, c := range []struct {
		name     string
		from, to ingest.State
		progress int
		want     error
	}{
		{"wrong state", ingest.Sending, ingest.Accepted, 0, store.ErrConflict},
		{"forbidden move", ingest.Sealed, ingest.Succeeded, 0, store.ErrConflict},
		{"dead letter by the back door", ingest.Sealed, ingest.DeadLettered, 0, store.ErrConflict},
		{"progress too long", ingest.Sealed, ingest.Sealed, ledger.MaxProgressBytes + 1, ingest.ErrInvalid},
	} {
		_, err := s.Transition(ctx, id, c.from, func(e *store.Entry) { e.State, e.Progress = c.to, make([]byte, c.progress) })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := s.Transition(ctx, id, ingest.Sealed, func(e *store.Entry) { panic("boom") }); err == nil || s.Err() != nil {
		t.Errorf("a panicking apply: %v, store %v", err, s.Err())
	}
	e, err := s.Transition(ctx, id, ingest.Sealed, func(e *store.Entry) {
		e.State, e.Attempts, e.Progress, e.PossibleDuplicates = ingest.Sending, 1, []byte("p"), 7
		e.Batch.Last = 99
	})
	if err != nil || e.Batch.Last != 1 || string(e.Progress) != "p" {
		t.Errorf("%+v, %v", e, err)
	}
	if st := checkBooks(t, s); st.PossibleDuplicates != 7 {
		t.Errorf("possible duplicates %d", st.PossibleDuplicates)
	}
	if _, err := s.Transition(ctx, ingest.BatchID{1}, ingest.Sealed, func(*store.Entry) {}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("unknown batch: %v", err)
	}
}

func TestSealRefusesWhatIsNotNext(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	lane := laneOf(t, s, jsonTable("t"))
	for range 3 {
		appendOne(t, s, lane, "x")
	}
	seal := func(first, last uint64) error {
		_, err := s.Seal(ctx, []store.Seal{{Lane: lane, First: first, Last: last, Bytes: 2 * int64(last-first+1), Guarantee: ingest.AtLeastOnce, Confirm: ingest.ConfirmAccepted}})
		return err
	}
	for _, r := range [][2]uint64{{2, 3}, {0, 1}, {1, 4}, {1, 0}} {
		if err := seal(r[0], r[1]); !errors.Is(err, store.ErrConflict) {
			t.Errorf("seal %v: %v", r, err)
		}
	}
	if err := seal(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := seal(1, 2); !errors.Is(err, store.ErrConflict) {
		t.Errorf("sealing twice: %v", err)
	}
	if err := seal(3, 3); err != nil {
		t.Error(err)
	}
	checkBooks(t, s)
}

func TestSplit(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	var recs []store.Record
	for i := range 10 {
		recs = append(recs, store.Record{Lane: lane, Data: fmt.Appendf(nil, "r%d", i+1)})
	}
	if _, err := s.Append(ctx, recs); err != nil {
		t.Fatal(err)
	}
	whole := sealAll(t, s)[0]
	move(t, s, whole.Batch.ID, ingest.Sealed, ingest.Sending)
	for _, cuts := range [][]uint64{nil, {1}, {11}, {5, 5}, {6, 4}} {
		if _, err := s.Split(ctx, whole.Batch.ID, ingest.Sending, cuts, nil); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("cuts %v: %v", cuts, err)
		}
	}
	children, err := s.Split(ctx, whole.Batch.ID, ingest.Sending, []uint64{4, 9}, &ingest.Failure{Class: "malformed", Message: "m"})
	if err != nil || len(children) != 3 {
		t.Fatalf("%d children, %v", len(children), err)
	}
	s = reopen(t, s, dir, nil)
	var all string
	for _, c := range s.Live() {
		all += payloadOf(t, s, &c.Batch)
	}
	if all != "r1\nr2\nr3\nr4\nr5\nr6\nr7\nr8\nr9\nr10\n" {
		t.Errorf("payloads together %q", all)
	}
	if st := checkBooks(t, s); st.BatchesSplit != 1 || st.Sealed != 10 || st.BatchesLive != 3 {
		t.Errorf("stats %+v", st)
	}
}

func TestDeadLetter(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, `{"bad":1}`)
	b := sealAll(t, s)[0].Batch
	why := &ingest.Failure{Class: "permanent", Code: "400", Message: "no such column"}
	if _, err := s.DeadLetter(ctx, b.ID, ingest.Sealed, why); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir, nil)
	n := 0
	for e, err := range s.DeadLetters() {
		if n++; err != nil || e.Batch.ID != b.ID || e.Failure.Message != why.Message || e.Batch.Properties.Table != "t" {
			t.Errorf("dead letter %+v, %v", e, err)
		}
	}
	r, err := s.OpenDeadLetter(b.ID)
	if err != nil || n != 1 {
		t.Fatalf("%d dead letters, %v", n, err)
	}
	data, err := io.ReadAll(r)
	if r.Close(); err != nil || string(data) != "{\"bad\":1}\n" {
		t.Errorf("payload %q, %v", data, err)
	}
	if e, err := s.Find(lane, 1); err != nil || e.State != ingest.DeadLettered {
		t.Errorf("Find: %v, %v", e.State, err)
	}
	if st := checkBooks(t, s); st.DeadLettered != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := s.RemoveDeadLetter(b.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.OpenDeadLetter(b.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after removal: %v", err)
	}
}

func TestKeysMakeRepeatsSafe(t *testing.T) {
	dir := t.TempDir()
	opts := &store.Options{SegmentBytes: store.MinSegmentBytes}
	s := openStore(t, dir, opts)
	lane, other := laneOf(t, s, jsonTable("t")), laneOf(t, s, jsonTable("u"))
	put := func(lane uint32, key string) store.Appended {
		t.Helper()
		a, err := s.AppendOne(ctx, lane, bytes.Repeat([]byte("x"), 4000), key)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := put(lane, "k")
	if a := put(other, "k"); a.Duplicate {
		t.Error("another lane's key counts")
	}
	both, err := s.Append(ctx, []store.Record{{Lane: lane, Data: []byte("n"), Key: "n"}, {Lane: lane, Data: []byte("n"), Key: "n"}})
	if err != nil || both[0].Duplicate || !both[1].Duplicate || both[0].Seq != both[1].Seq {
		t.Errorf("twice in one append: %+v, %v", both, err)
	}
	// Far enough that the key's segment is rotated, and its keys copied.
	for i := range 60 {
		put(lane, fmt.Sprint("filler ", i))
		if a := put(lane, "k"); !a.Duplicate || a.Seq != first.Seq {
			t.Fatalf("after %d records: %+v, want %+v", i, a, first)
		}
	}
	s = reopen(t, s, dir, opts)
	if a := put(lane, "k"); !a.Duplicate || a.Seq != first.Seq {
		t.Errorf("after reopening: %+v, want %+v", a, first)
	}
	for _, e := range sealAll(t, s) {
		settle(t, s, e.Batch.ID)
	}
	s = reopen(t, s, dir, opts)
	if a := put(lane, "k"); !a.Duplicate {
		t.Error("forgotten when its segment was given back")
	}
	checkBooks(t, s)
}

func TestWholeObjects(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	lane := laneOf(t, s, &ingest.Properties{Database: "db", Table: "t", Format: ingest.Parquet})
	big := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB, larger than a frame
	if _, err := s.Append(ctx, []store.Record{{Lane: lane, Data: big}, {Lane: lane, Data: []byte("small")}}); err != nil {
		t.Fatal(err)
	}
	var frames []store.Frame
	for f, err := range s.Unsealed() {
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	if len(frames) != 2 || frames[0].Bytes != int64(len(big)) || frames[1].Bytes != 5 {
		t.Fatalf("frames %+v", frames)
	}
	for i, want := range []string{string(big), "small"} {
		entries, err := s.Seal(ctx, []store.Seal{{Lane: lane, First: uint64(i + 1), Last: uint64(i + 1), Bytes: frames[i].Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
		if err != nil {
			t.Fatal(err)
		}
		if got := payloadOf(t, s, &entries[0].Batch); got != want {
			t.Errorf("object %d has %d bytes, want %d", i, len(got), len(want))
		}
	}
}

func TestAppendHonoursContextAndClose(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	lane := laneOf(t, s, jsonTable("t"))
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.AppendOne(dead, lane, []byte("x"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if _, err := s.AppendOne(ctx, 99, []byte("x"), ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown lane: %v", err)
	}
	if _, err := s.AppendOne(ctx, lane, nil, ""); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("empty record: %v", err)
	}
	if st := checkBooks(t, s); st.Acked != 0 {
		t.Errorf("acked %d", st.Acked)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(ctx, lane, []byte("x"), ""); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Lane(ctx, jsonTable("new"), store.FrameLimit{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Lane after Close: %v", err)
	}
	select {
	case <-s.Room():
	case <-time.After(10 * time.Second):
		t.Error("Room stays shut after Close")
	}
}

// TestEverythingAtOnce has producers, a shipper and readers at work together,
// through many rotations, and compares what was delivered with what was sent.
func TestEverythingAtOnce(t *testing.T) {
	frames := make(chan store.Frame, 1<<14)
	s := openStore(t, t.TempDir(), &store.Options{SegmentBytes: store.MinSegmentBytes, OpenSegments: 2, NoSync: true,
		Committed: func(fs []store.Frame) {
			for _, f := range fs {
				frames <- f
			}
		}})
	const producers, each = 8, 150
	lanes := []uint32{laneOf(t, s, jsonTable("a")), laneOf(t, s, jsonTable("b")), laneOf(t, s, jsonTable("c"))}
	var sending sync.WaitGroup
	for p := range producers {
		sending.Go(func() {
			for i := range each {
				data := fmt.Appendf(nil, "%d-%d-%s", p, i, bytes.Repeat([]byte("x"), i*7))
				key := ""
				if i%3 == 0 {
					key = fmt.Sprint(p, "/", i)
				}
				for range 1 + i%2 { // some are sent twice
					if _, err := s.AppendOne(ctx, lanes[i%len(lanes)], data, key); err != nil {
						t.Errorf("append: %v", err)
						return
					}
					if key == "" {
						break
					}
				}
			}
		})
	}
	delivered := make(chan string, 1<<14)
	var shipping sync.WaitGroup
	sealed := make(chan ingest.Batch, 1<<14)
	shipping.Go(func() {
		defer close(sealed)
		for f := range frames {
			entries, err := s.Seal(ctx, []store.Seal{{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
			if err != nil {
				t.Errorf("seal: %v", err)
				return
			}
			sealed <- entries[0].Batch
		}
	})
	for range 3 {
		shipping.Go(func() {
			for b := range sealed {
				r := s.Payload(&b).Open()
				data, err := io.ReadAll(r)
				r.Close()
				if err != nil || int64(len(data)) != b.RawBytes {
					t.Errorf("payload of %d bytes, %d read: %v", b.RawBytes, len(data), err)
					return
				}
				for _, line := range bytes.Split(bytes.TrimSuffix(data, []byte{'\n'}), []byte{'\n'}) {
					delivered <- string(line)
				}
				settle(t, s, b.ID)
				checkBooks(t, s)
			}
		})
	}
	sending.Wait()
	close(frames)
	shipping.Wait()
	close(delivered)
	got := map[string]int{}
	for line := range delivered {
		got[line]++
	}
	if len(got) != producers*each {
		t.Errorf("%d different records delivered, want %d", len(got), producers*each)
	}
	for line, n := range got {
		if n != 1 {
			t.Errorf("delivered %d times: %.20q", n, line)
		}
	}
	st := checkBooks(t, s)
	if st.Ingested != producers*each || st.Open+st.Sealed != 0 {
		t.Errorf("stats %+v", st)
	}
}
