package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestRecordsArriveOnceAndUnchanged(t *testing.T) {
	for _, tracked := range []bool{false, true} {
		t.Run(fmt.Sprintf("tracked=%v", tracked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := transporttest.NewFake()
				var tr transport.Transport = fake
				if tracked {
					tr = fake.Tracking()
				}
				s := open(t, t.TempDir(), tr, soon())
				receipts := put(t, s, telemetry, rows(50)...)
				state(t, s, receipts[0], ingest.Open)
				drain(t, s)
				sameRows(t, fake.Rows(transporttest.TableOf(telemetry)), rows(50))
				for _, r := range receipts {
					state(t, s, r, ingest.Succeeded)
				}
				conserved(t, s)
				kept(t, fake)
			})
		})
	}
}

func TestStatusOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		s := open(t, dir, fake, soon())
		delivered := put(t, s, telemetry, row(1))[0]
		drain(t, s)
		fake.Down(transporttest.Fail(transport.Transient))
		waiting := put(t, s, telemetry, row(2))[0]
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		next := transporttest.NewFake()
		s = open(t, dir, next, soon())
		id, err := ingest.ParseID(delivered.String())
		if err != nil {
			t.Fatal(err)
		}
		state(t, s, ingest.Receipt{ID: id}, ingest.Succeeded)
		st, err := s.Wait(t.Context(), waiting.ID)
		if err != nil || st.State != ingest.Succeeded {
			t.Fatalf("%+v, %v", st, err)
		}
		sameRows(t, next.AllRows(), []string{row(2)})
		if got := s.Stats(); got.Acked != 2 || got.Settled.Ingested != 2 {
			t.Fatalf("the books do not span the restart: %+v", got)
		}
	})
}

func TestStatusOfStrangers(t *testing.T) {
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	put(t, s, telemetry, row(1))
	for _, id := range []ingest.ID{
		{}, ingest.NewID(ingest.SpoolID{1}, 1, 1), ingest.NewID(s.ID(), 1, 2), ingest.NewID(s.ID(), 9, 1), ingest.NewID(s.ID(), 1, 0),
	} {
		if st, err := s.Status(t.Context(), id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Status(%s) = %+v, %v", id, st, err)
		}
	}
}

func TestIngestAllIsAllOrNone(t *testing.T) {
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	other := telemetry
	other.Table = "Other"
	bad := []*ingest.Request{request(telemetry, row(1)), request(other, row(2)), request(telemetry, "")}
	_, err := s.IngestAll(t.Context(), bad)
	isInvalid(t, err, "request 2: data")
	if got := s.Stats().Acked; got != 0 {
		t.Fatalf("%d records of a refused call are stored", got)
	}
	receipts, err := s.IngestAll(t.Context(), bad[:2])
	if err != nil || len(receipts) != 2 || receipts[0].ID == receipts[1].ID {
		t.Fatalf("%v, %v", receipts, err)
	}
	if got := s.Stats().Acked; got != 2 {
		t.Fatalf("%d records stored", got)
	}
	if r, err := s.IngestAll(t.Context(), nil); err != nil || r != nil {
		t.Fatalf("no requests: %v, %v", r, err)
	}
}

func TestBadInputStoresNothing(t *testing.T) {
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	with := func(change func(*ingest.Properties)) ingest.Properties {
		p := telemetry
		change(&p)
		return p
	}
	cases := []struct {
		p    ingest.Properties
		data string
		want string
	}{
		{with(func(p *ingest.Properties) { p.Database = "" }), "{}", "database"},
		{with(func(p *ingest.Properties) { p.Table = "\xff" }), "{}", "table"},
		{with(func(p *ingest.Properties) { p.Format = "xml" }), "{}", "format"},
		{with(func(p *ingest.Properties) { p.Mapping, p.MappingReference = "[{}]", "m" }), "{}", "mapping"},
		{telemetry, "", "empty"},
		{telemetry, "{}\n{}", "newline"},
		{telemetry, strings.Repeat("x", ingest.MaxRecordBytes+1), "at most"},
	}
	for _, c := range cases {
		_, err := s.Ingest(t.Context(), request(c.p, c.data))
		isInvalid(t, err, c.want)
		if _, err := s.Table(c.p); c.data == "{}" {
			isInvalid(t, err, c.want)
		}
	}
	if _, err := s.Ingest(t.Context(), nil); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("nil request: %v", err)
	}
	_, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte("{}"), Key: strings.Repeat("k", 257)})
	isInvalid(t, err, "key")
	if st := s.Stats(); st.Acked != 0 || len(st.Lanes) != 0 {
		t.Fatalf("something is stored: %+v", st)
	}
}

func TestKeyMakesARepeatHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fake := t.TempDir(), transporttest.NewFake()
		s := open(t, dir, fake, soon())
		req := &ingest.Request{Properties: telemetry, Data: []byte(row(1)), Key: "order-1"}
		first, err := s.Ingest(t.Context(), req)
		if err != nil || first.Duplicate {
			t.Fatalf("%+v, %v", first, err)
		}
		drain(t, s)
		for range 2 {
			if again, err := s.Ingest(t.Context(), req); err != nil || !again.Duplicate || again.ID != first.ID {
				t.Fatalf("%+v, %v; first %s", again, err, first)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, fake.Tracking(), soon()) // a Fake is closed with its spool; Tracking shares its rows
		}
		sameRows(t, fake.AllRows(), []string{row(1)})
	})
}

func TestWholeObjectsAreBatchesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		s := open(t, t.TempDir(), fake, soon())
		parquet := telemetry
		parquet.Format = ingest.Parquet
		put(t, s, parquet, "PAR1 one\n\nPAR1", "PAR1 two PAR1")
		headed := telemetry
		headed.Format, headed.IgnoreFirstRecord = ingest.CSV, true
		put(t, s, headed, "a,b\n1,2\n3,4\n", "a,b\n5,6\n")
		drain(t, s)
		if n := len(fake.Kept()); n != 4 {
			t.Fatalf("%d batches, want 4", n)
		}
		for _, k := range fake.Kept() {
			if k.Batch.Records() != 1 || !strings.HasPrefix(string(k.Payload), "PAR1") && !strings.HasPrefix(string(k.Payload), "a,b\n") {
				t.Errorf("batch of %d records: %q", k.Batch.Records(), k.Payload)
			}
		}
	})
}

func TestBatchesAreCutBySizeAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		o := soon()
		o.Batch = batching.Policy{MaxBytes: 4 << 10, MaxAge: time.Hour}
		o.Tables = map[engine.TableName]engine.TableOptions{{Database: "Demo", Table: "Urgent"}: {Batch: batching.Policy{MaxAge: time.Second}}}
		s := open(t, t.TempDir(), fake, o)
		urgent := telemetry
		urgent.Table = "Urgent"
		put(t, s, urgent, row(1))
		for i := range 10 {
			put(t, s, telemetry, fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", 1000)))
		}
		time.Sleep(10 * time.Millisecond) // the sealer looks at commits once a millisecond
		synctest.Wait()
		if n := len(fake.Rows(transporttest.TableOf(telemetry))); n < 4 || n > 9 {
			t.Fatalf("%d rows sent by size, want the full batches and not the open one", n)
		}
		if n := len(fake.Rows(transporttest.TableOf(urgent))); n != 0 {
			t.Fatalf("%d urgent rows before their age", n)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if n := len(fake.Rows(transporttest.TableOf(urgent))); n != 1 {
			t.Fatalf("%d urgent rows after their age", n)
		}
		for _, k := range fake.Kept() {
			if k.Batch.RawBytes > 4<<10 || k.Batch.RawBytes != int64(len(k.Payload)) {
				t.Errorf("batch of %d bytes, payload %d", k.Batch.RawBytes, len(k.Payload))
			}
		}
	})
}

func TestAnOutageEndsInLargeBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		o := soon()
		o.Batch.MaxAge = time.Second
		o.RetryMin, o.RetryMax = 10*time.Second, time.Minute
		s := open(t, t.TempDir(), fake, o)
		for i := range 600 { // ten minutes at a record a second
			put(t, s, telemetry, row(i))
			time.Sleep(time.Second)
		}
		fake.Down(nil)
		drain(t, s)
		sameRows(t, fake.AllRows(), rows(600))
		if n := len(fake.Kept()); n > 3 {
			t.Fatalf("%d batches after the outage; aged ones were not held together", n)
		}
	})
}

func TestWaitReturnsAtTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		gate := make(chan struct{})
		fake.Script(transporttest.Step{Wait: gate})
		s := open(t, t.TempDir(), fake, soon())
		r := put(t, s, telemetry, row(1))[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Wait(ctx, r.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		done := make(chan error)
		go func() {
			st, err := s.Wait(t.Context(), r.ID)
			done <- errors.Join(err, st.Err())
		}()
		close(gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(t.Context(), ingest.ID{}); !errors.Is(err, engine.ErrNotFound) {
			t.Fatalf("%v", err)
		}
	})
}

func TestWriterCutsLines(t *testing.T) {
	cases := []struct {
		format ingest.Format
		writes []string
		want   []string
	}{
		{ingest.JSON, []string{"{\"a\":1}\n{\"a\"", ":2}\n\n", "{\"a\":3}"}, []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}},
		{ingest.CSV, []string{"1,\"x\n", "y\"\n2,z\r\n"}, []string{"1,\"x\ny\"", "2,z"}},
		{ingest.CSV, []string{"1,\"a\"\"\n\"\"b\"\n"}, []string{"1,\"a\"\"\n\"\"b\""}},
		{ingest.TSV, []string{"a\tb\n", "c\td"}, []string{"a\tb", "c\td"}},
		{ingest.Parquet, []string{"PAR1\n", "\nPAR1"}, []string{"PAR1\n\nPAR1"}},
		{ingest.JSON, []string{"", "\n\n"}, nil},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			fake := transporttest.NewFake()
			s := open(t, t.TempDir(), fake, soon())
			p := telemetry
			p.Format = c.format
			table, err := s.Table(p)
			if err != nil {
				t.Fatal(err)
			}
			w := table.Writer(t.Context())
			for _, text := range c.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("Write(%q) = %d, %v", text, n, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := s.Stats().Acked; got != int64(len(c.want)) || got != w.Records() {
				t.Fatalf("%d records, the writer says %d, want %d", got, w.Records(), len(c.want))
			}
			drain(t, s)
			var got []string
			for _, k := range fake.Kept() {
				got = append(got, string(k.Payload))
			}
			want := string(transporttest.Join(c.want))
			if c.format == ingest.Parquet {
				want = c.want[0]
			}
			if strings.Join(got, "") != want && len(c.want) > 0 {
				t.Fatalf("%q arrived as %q", c.writes, got)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("Write after Close: %v", err)
			}
		})
	}
}

func TestWriterRefusesAnEndlessRecord(t *testing.T) {
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	table, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	w := table.Writer(t.Context())
	chunk := bytes.Repeat([]byte("x"), 16<<20)
	for range 5 {
		_, err = w.Write(chunk)
	}
	isInvalid(t, err, "at most")
	if closeErr := w.Close(); closeErr == nil {
		t.Error("Close hides the error")
	}
	if got := s.Stats().Acked; got != 0 {
		t.Errorf("%d records stored", got)
	}
}
