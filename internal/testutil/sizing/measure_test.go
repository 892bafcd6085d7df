package sizing

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

var into = ingest.Properties{Database: "D", Table: "T", Format: ingest.CSV}

func table(t *testing.T, s *engine.Spool) *engine.Table {
	t.Helper()
	out, err := s.Table(into)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is written for a commit of one record, and for the life of a batch, is
// within what the formulas say, and not far below it.
func TestWritten(t *testing.T) {
	const commits, batches = 1000, 100
	s := simspool.Open(t, t.TempDir(), transporttest.NewFake(), &engine.Options{NoSocket: true, SegmentBytes: 1 << 20})
	to := table(t, s)
	record := bytes.Repeat([]byte("x"), 500)
	ingestOne := func() ingest.ID {
		r, err := to.Ingest(t.Context(), record)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	ingestOne()
	before := s.Stats().Disk.Written
	for range commits {
		ingestOne()
	}
	perCommit := float64(s.Stats().Disk.Written-before) / commits
	drain := func() {
		if err := s.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	drain()
	before = s.Stats().Disk.Written
	for range batches {
		ingestOne()
		drain()
	}
	perBatch := float64(s.Stats().Disk.Written-before)/batches - perCommit
	t.Logf("%.0f bytes a commit, %.0f a batch", perCommit, perBatch)
	most := float64(CommitBytes + FrameBytes + 2 + len(record) + PageBytes - 1)
	if perCommit > most || perCommit < most/2 {
		t.Errorf("a commit writes %.0f bytes, the formula says %.0f", perCommit, most)
	}
	if perBatch > BatchWritten || perBatch < BatchWritten/2 {
		t.Errorf("a batch writes %.0f bytes, the formula says %d", perBatch, BatchWritten)
	}
}

// The quota of the formula takes the records of an outage, and not many more.
func TestOutageFits(t *testing.T) {
	d := Device{"", 1000, 500, 64}
	const outage = 120 * time.Second
	records := int(d.Rate * outage.Seconds())
	fake := transporttest.NewFake()
	fake.Down(&transport.Error{Class: transport.Transient, Message: "down"})
	s := simspool.Open(t, t.TempDir(), fake, &engine.Options{NoSocket: true, MaxDiskBytes: int64(d.Quota(outage)), Full: engine.RejectNew})
	to := table(t, s)
	commit := make([][]byte, int(d.Together))
	for i := range commit {
		commit[i] = bytes.Repeat([]byte("x"), d.Record)
	}
	taken := 0
	for {
		_, err := to.IngestAll(t.Context(), commit)
		if errors.Is(err, engine.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken += len(commit)
	}
	t.Logf("%d records of %d, in %d bytes", taken, records, int64(d.Quota(outage)))
	if taken < records || taken > 2*records {
		t.Errorf("a spool of %.0f bytes took %d records, the formula says %d", d.Quota(outage), taken, records)
	}
}

// stuck is a destination that answers nobody.
type stuck struct{ asked atomic.Int32 }

func (*stuck) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (d *stuck) Send(ctx context.Context, _ *transport.Delivery) (transport.Ack, error) {
	d.asked.Add(1)
	<-ctx.Done()
	return transport.Ack{}, ctx.Err()
}

// The formula of memory has an upload for each sender, and a spool with defaults has
// as many senders.
func TestSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stuck{}
		s := simspool.Open(t, t.TempDir(), to, &engine.Options{NoSocket: true, Batch: batching.Policy{MaxRecords: 1}})
		if _, err := table(t, s).IngestAll(t.Context(), [][]byte{{'a'}, {'b'}, {'c'}, {'d'}, {'e'}, {'f'}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := to.asked.Load(); n != Senders {
			t.Errorf("%d uploads at a time, the formula has %d", n, Senders)
		}
	})
}

// A batch that waits takes no more than the formulas say, and not far less.
func TestWaiting(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures memory, which the race detector changes")
	}
	const batches = 30_000
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what pools hold goes with the second one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	dir := t.TempDir()
	fake := transporttest.NewFake()
	fake.Down(&transport.Error{Class: transport.Transient, Message: "down"})
	s := simspool.Open(t, dir, fake, &engine.Options{NoSocket: true, Batch: batching.Policy{MaxRecords: 1}})
	to := table(t, s)
	if _, err := to.Ingest(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	before := heap()
	records := make([][]byte, batches)
	for i := range records {
		records[i] = []byte("x")
	}
	if _, err := to.IngestAll(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	records = nil
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Batches.Live(); n != batches+1 {
		t.Fatalf("%d batches wait", n)
	}
	memory := float64(heap()-before) / batches
	info, err := os.Stat(filepath.Join(dir, "manifest.db"))
	if err != nil {
		t.Fatal(err)
	}
	books := float64(info.Size()) / batches
	t.Logf("%.0f bytes of memory and %.0f of manifest.db a batch", memory, books)
	if memory > BatchMemory || memory < BatchMemory/2 || books > BatchBooks || books < BatchBooks/2 {
		t.Errorf("%.0f bytes of memory, the formula says %d; %.0f of manifest.db, the formula says %d", memory, BatchMemory, books, BatchBooks)
	}
}
