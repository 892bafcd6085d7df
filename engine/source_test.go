package engine_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

var sourceMiB = flag.Int64("source-mib", 256, "size of the source in TestSourceMemory")

// of gives properties of a format.
func of(f ingest.Format) ingest.Properties {
	p := telemetry
	p.Format = f
	return p
}

// wideRows makes n rows of 1 to 5 kB.
func wideRows(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(`{"n":%d,"text":%q}`, i, strings.Repeat("x", 1000+i%37*100))
	}
	return out
}

// noObjects checks that a spool's directory holds no object.
func noObjects(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "objects"))
	if err != nil || len(entries) > 0 {
		t.Errorf("objects are left: %v, %v", entries, err)
	}
}

// waitAll waits for all records of a receipt to be ingested.
func waitAll(t testing.TB, s *engine.Spool, r ingest.Receipt, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	tally, err := s.WaitAll(ctx, r)
	if err != nil || tally.Err() != nil || tally.Ingested() != int64(n) || r.Records != int64(n) {
		t.Fatalf("%+v, %v; want %d records", tally, err, n)
	}
}

// TestSmallSources: what a source is cut into, by format.
func TestSmallSources(t *testing.T) {
	for _, c := range []struct {
		format ingest.Format
		source string
		want   []string // nil: refused
	}{
		{ingest.JSON, "{\"a\":1}\n\n  \n{\"a\":2}\r\n{\"a\":3}", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}},
		{ingest.JSON, "\xef\xbb\xbf{\"a\":1}\n", []string{`{"a":1}`}},
		{ingest.JSON, "\xff\xfe{\x00", nil},
		{ingest.JSON, "\n \n", nil},
		{ingest.JSON, "", nil},
		{ingest.TXT, "one\ntwo", []string{"one", "two"}},
		{ingest.CSV, "1,\"a\nb\"\n2,\"\"\"\n\"\"\"\n3,c", []string{"1,\"a\nb\"", "2,\"\"\"\n\"\"\"", "3,c"}},
		{ingest.CSV, "1,\"never closed\n2", nil},
		{ingest.TSV, "a\tb\tc\n\t\t\n \n\nd\te\tf\n", []string{"a\tb\tc", "\t\t", " ", "d\te\tf"}},
		{ingest.CSV, "5\" pipe,1\n6\" pipe,2\n,\n", []string{"5\" pipe,1", "6\" pipe,2", ","}},
		{ingest.MultiJSON, "{\n \"a\": \"}\\\"\"\n}{\"b\":[1,\n2]} [{\"c\":3},\n{\"c\":4}]", []string{"{\n \"a\": \"}\\\"\"\n}", "{\"b\":[1,\n2]}", "{\"c\":3}", "{\"c\":4}"}},
		{ingest.MultiJSON, "{} [3]", nil},
		{ingest.JSON, "{}\n[{}]\n", nil},
		{ingest.JSON, "{}\n{\n \"a\": 1\n}\n", nil},
		{ingest.JSON, "\x1f\x8b\x08\x00{}\n", nil},
		{ingest.JSON, "PAR1\n", nil},
		{ingest.CSV, "i\x00d\x00,\x00n\x00\n\x00", nil},
		{ingest.W3CLogFile, "{\"a\":1}\n", nil},
		{ingest.W3CLogFile, "#Version: 1.0\nx\n", []string{"#Version: 1.0\nx\n"}},
		{ingest.SingleJSON, "{\n}\n", []string{"{\n}\n"}},
		{ingest.Parquet, "PAR1\n\nPAR1", []string{"PAR1\n\nPAR1"}},
		{ingest.Parquet, "", nil},
	} {
		t.Run(string(c.format)+" "+c.source, func(t *testing.T) {
			fake := transporttest.NewFake()
			s := open(t, t.TempDir(), fake, soon())
			r, err := s.IngestReader(t.Context(), of(c.format), strings.NewReader(c.source))
			if c.want == nil {
				if !errors.Is(err, ingest.ErrInvalid) || s.Stats().Acked != 0 {
					t.Fatalf("%v, %+v", err, s.Stats())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			waitAll(t, s, r, len(c.want))
			payload := string(fake.Kept()[0].Payload)
			want := strings.Join(c.want, "\n")
			if ok := of(c.format); ok.Concatenates() {
				want += "\n"
			}
			if payload != want {
				t.Errorf("payload %q, want %q", payload, want)
			}
		})
	}
}

// TestLargeSource: many batches, one receipt, which outlives the process.
func TestLargeSource(t *testing.T) {
	fake := transporttest.NewFake()
	tr := openDestination{fake.Tracking()}
	o := soon()
	o.Batch.MaxBytes = 3 << 20
	dir := t.TempDir()
	s, err := engine.Open(dir, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	fake.Down(transporttest.Fail(transport.Transient))
	put(t, s, telemetry, row(-1))
	want := wideRows(5000)
	rcpt, err := s.IngestReader(t.Context(), telemetry, strings.NewReader(strings.Join(want, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, tr, o)
	again, err := ingest.ParseReceipt(rcpt.String())
	if err != nil || again != rcpt {
		t.Fatalf("%+v from %s, %v", again, rcpt, err)
	}
	if tally, err := s.StatusAll(t.Context(), again); err != nil || tally.Final() || tally.Ingested() != 0 {
		t.Fatalf("%+v, %v", tally, err)
	}
	fake.Down(nil)
	waitAll(t, s, again, len(want))
	sameRows(t, fake.AllRows(), append(want, row(-1)))
	if n := s.Stats().SettledBatches.Ingested; n < 5 {
		t.Errorf("%d batches", n)
	}
	for _, k := range fake.Kept() {
		if k.Batch.RawBytes > o.Batch.MaxBytes {
			t.Errorf("a batch of %d bytes", k.Batch.RawBytes)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, tr, o)
	noObjects(t, dir)
}

// TestSourceStoresAllOrNothing: a read error, a bad record, an end of the
// context, late in a large source.
func TestSourceStoresAllOrNothing(t *testing.T) {
	text := strings.Join(wideRows(4000), "\n") + "\n"
	broken := errors.New("the cable is out")
	for _, c := range []struct {
		name   string
		format ingest.Format
		source func(cancel func()) io.Reader
		want   error
	}{
		{"read error", ingest.JSON, func(func()) io.Reader { return io.MultiReader(strings.NewReader(text), errReader{broken}) }, broken},
		{"read error in a whole object", ingest.Parquet, func(func()) io.Reader { return io.MultiReader(strings.NewReader(text), errReader{broken}) }, broken},
		{"early read error", ingest.Parquet, func(func()) io.Reader { return io.MultiReader(strings.NewReader("PAR1"), errReader{broken}) }, broken},
		{"bad record", ingest.CSV, func(func()) io.Reader {
			return strings.NewReader(strings.ReplaceAll(text, `"`, "'") + "\"never closed\n2\n")
		}, ingest.ErrInvalid},
		{"context", ingest.JSON, func(cancel func()) io.Reader {
			return io.MultiReader(strings.NewReader(text), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }), strings.NewReader("{}\n"))
		}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, transporttest.NewFake(), soon())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := s.IngestReader(ctx, of(c.format), c.source(cancel))
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if st := s.Stats(); st.Acked != 0 {
				t.Errorf("%+v", st)
			}
			noObjects(t, dir)
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBadRecordInASource ends alone, like any other.
func TestBadRecordInASource(t *testing.T) {
	fake := transporttest.NewFake()
	fake.Poison(func(rec []byte) bool { return bytes.Contains(rec, []byte(`"n":1234,`)) })
	s := open(t, t.TempDir(), fake, soon())
	want := wideRows(3000)
	rcpt, err := s.IngestReader(t.Context(), telemetry, strings.NewReader(strings.Join(want, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	sameRows(t, fake.AllRows(), slices.Delete(slices.Clone(want), 1234, 1235))
	tally, err := s.StatusAll(t.Context(), rcpt)
	if err != nil || tally.Err() == nil || tally.States[ingest.DeadLettered] != 1 || tally.Ingested() != 2999 {
		t.Errorf("%+v, %v", tally, err)
	}
}

// TestFiles: format and compression by the name; archives.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	text := wideRows(3000)
	plain := []byte(strings.Join(text, "\n"))
	parquet := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(parquet)
	gzipped := func(data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data)
		_ = z.Close()
		return b.Bytes()
	}
	zipped := func(files ...[]byte) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i, data := range files {
			w, _ := z.Create(fmt.Sprintf("sub/%d", i))
			_, _ = w.Write(data)
		}
		_ = z.Close()
		return b.Bytes()
	}
	pattern := of(ingest.CSV)
	pattern.ZipPattern = `.*\.csv`
	archive := zipped([]byte("1,2\n"))
	for _, c := range []struct {
		name    string
		data    []byte
		p       ingest.Properties
		records int
		payload []byte // of all batches together; nil: refused
	}{
		{"a.jsonl", plain, of(""), 3000, append(plain, '\n')},
		{"a.json.gz", gzipped(plain), of(""), 3000, append(plain, '\n')},
		{"A.JSON.ZIP", zipped(plain[:len(plain)/2:len(plain)/2], []byte("\n"), []byte(`{"n":1}`)), of(ingest.TXT), -1, nil},
		{"b.json.zip", zipped([]byte(`{"n":1}`), []byte("{\"n\":2}\n")), of(""), 2, []byte("{\"n\":1}\n{\"n\":2}\n")},
		{"b.parquet", parquet, of(""), 1, parquet},
		{"c.parquet.gz", gzipped(parquet), of(""), 1, parquet},
		{"d.parquet.zip", zipped([]byte("PAR1"), parquet), of(""), 2, append([]byte("PAR1"), parquet...)},
		{"e.zip", archive, pattern, 1, archive},
		{"f.csv.gz", gzipped(plain)[:1000], of(""), 0, nil},
		{"g.csv.gz", plain, of(""), 0, nil},
		{"h.unknown", plain, of(""), 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.records < 0 {
				c.records, c.payload = 0, nil
				c.data = c.data[:len(c.data)/2]
			}
			path := filepath.Join(dir, c.name)
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			fake := transporttest.NewFake()
			s := open(t, t.TempDir(), fake, soon())
			rcpt, err := s.IngestFile(t.Context(), c.p, path)
			if c.payload == nil {
				if err == nil || s.Stats().Acked != 0 {
					t.Fatalf("%v, %+v", err, s.Stats())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			waitAll(t, s, rcpt, c.records)
			var got []byte
			kept := fake.Kept()
			slices.SortFunc(kept, func(a, b transporttest.Kept) int { return int(a.Batch.First) - int(b.Batch.First) })
			for _, k := range kept {
				got = append(got, k.Payload...)
			}
			if !bytes.Equal(got, c.payload) {
				t.Errorf("%d bytes arrived, want %d", len(got), len(c.payload))
			}
		})
	}
}

// TestSourceLargerThanTheSpool is refused, and not waited for.
func TestSourceLargerThanTheSpool(t *testing.T) {
	dir := t.TempDir()
	o := soon()
	o.MaxDiskBytes = 24 << 20
	s := open(t, dir, transporttest.NewFake(), o)
	_, err := s.IngestReader(t.Context(), of(ingest.Parquet), io.LimitReader(zeros{}, 64<<20))
	if !errors.Is(err, ingest.ErrInvalid) {
		t.Fatalf("%v", err)
	}
	noObjects(t, dir)
	put(t, s, telemetry, row(1)) // the room is back
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// discarding is a destination that reads everything and keeps nothing.
type discarding struct{ bytes atomic.Int64 }

func (d *discarding) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (d *discarding) Send(ctx context.Context, del *transport.Delivery) (transport.Ack, error) {
	r := del.Payload.Open()
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return transport.Ack{}, err
	}
	if n != del.Payload.Size() {
		return transport.Ack{}, fmt.Errorf("%d bytes of %d", n, del.Payload.Size())
	}
	if err := del.Journal.Commit(ctx, nil); err != nil {
		return transport.Ack{}, err
	}
	d.bytes.Add(n)
	return transport.Ack{State: ingest.Succeeded}, nil
}

// rowsReader makes JSON lines of 1 KiB without end.
type rowsReader struct {
	n    int
	rest []byte
}

func (r *rowsReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		r.rest = r.rest[:0]
		for range 64 {
			r.n++
			begin := fmt.Sprintf(`{"n":%d,"text":"`, r.n)
			r.rest = fmt.Appendf(r.rest, "%s%0*d\"}\n", begin, 1024-len(begin)-len("\"}\n"), r.n)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestSourceMemory: the heap does not know how large the source is. With
// -source-mib=2048 it is the size that the design names.
func TestSourceMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some hundred megabytes; not with -short")
	}
	const bound = 128 << 20
	for _, c := range []struct {
		format ingest.Format
		source io.Reader
	}{
		{ingest.Parquet, zeros{}},
		{ingest.JSON, &rowsReader{}},
	} {
		t.Run(string(c.format), func(t *testing.T) {
			size := *sourceMiB << 20
			runtime.GC() // what other tests left
			var peak atomic.Uint64
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				tick := time.NewTicker(2 * time.Millisecond)
				defer tick.Stop()
				sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
				for {
					select {
					case <-tick.C:
						metrics.Read(sample)
						peak.Store(max(peak.Load(), sample[0].Value.Uint64()))
					case <-stop:
						return
					}
				}
			}()
			d := &discarding{}
			o := &engine.Options{MaxDiskBytes: 2*size + 1<<30}
			s := open(t, t.TempDir(), d, o)
			start := time.Now()
			rcpt, err := s.IngestReader(t.Context(), of(c.format), io.LimitReader(c.source, size))
			if err != nil {
				t.Fatal(err)
			}
			stored := time.Since(start)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			if err := s.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			close(stop)
			<-stopped
			if tally, err := s.StatusAll(ctx, rcpt); err != nil || tally.Ingested() != rcpt.Records {
				t.Errorf("%+v, %v", tally, err)
			}
			if got := d.bytes.Load(); got < size || got > size+1 {
				t.Errorf("%d bytes arrived of %d", got, size)
			}
			t.Logf("%d MiB in %d records: durable after %v, delivered after %v, heap at most %d MiB",
				size>>20, rcpt.Records, stored.Round(time.Millisecond), time.Since(start).Round(time.Millisecond), peak.Load()>>20)
			if peak.Load() > bound {
				t.Errorf("heap of %d bytes, bound %d", peak.Load(), bound)
			}
		})
	}
}

func TestIngestJSON(t *testing.T) {
	fake := transporttest.NewFake()
	s := open(t, t.TempDir(), fake, soon())
	table, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	type reading struct {
		Boat  string  `json:"boat"`
		Knots float64 `json:"knots"`
	}
	if _, err := table.IngestJSON(t.Context(), reading{"Kittiwake\n<&>", 6.5}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.IngestJSON(t.Context(), func() {}); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("%v", err)
	}
	csv, err := s.Table(of(ingest.CSV))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := csv.IngestJSON(t.Context(), reading{}); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("%v", err)
	}
	drain(t, s)
	sameRows(t, fake.AllRows(), []string{`{"boat":"Kittiwake\n\u003c\u0026\u003e","knots":6.5}`})
}
