package engine_test

import (
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

// small is a spool that is soon full.
func small(policy engine.FullPolicy) *engine.Options {
	o := soon()
	o.Full = policy
	o.Batch = batching.Policy{MaxBytes: 64 << 10}
	o.SegmentBytes = 256 << 10
	o.MaxDiskBytes = 8 << 20
	o.RetryMin, o.RetryMax = time.Second, 10*time.Second
	return o
}

func padded(n int) string { return fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 8<<10)) }

// fill ingests until the spool is full, and returns how many records it took.
func fill(t *testing.T, s *engine.Spool) int {
	t.Helper()
	for n := range 10_000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.Ingest(ctx, request(telemetry, padded(n)))
		cancel()
		if errors.Is(err, engine.ErrFull) || errors.Is(err, context.DeadlineExceeded) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the spool never fills")
	return 0
}

func TestFullSpoolRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, t.TempDir(), fake, small(engine.RejectNew))
		n := fill(t, s)
		if n < 100 {
			t.Fatalf("full after %d records of 8 KiB in 8 MiB", n)
		}
		if st := s.Stats(); st.Disk.Bytes > st.Disk.Quota {
			t.Errorf("%d bytes on disk, %d allowed", st.Disk.Bytes, st.Disk.Quota)
		}
		fake.Down(nil) // delivery and reclaim work when the disk is full
		drain(t, s)
		put(t, s, telemetry, padded(n))
		drain(t, s)
		if got := len(fake.AllRows()); got != n+1 {
			t.Errorf("%d rows, want %d", got, n+1)
		}
		conserved(t, s)
	})
}

func TestFullSpoolBlocksWithTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, t.TempDir(), fake, small(engine.BlockCaller))
		n := fill(t, s) // ends by its context
		done := make(chan error)
		go func() {
			_, err := s.Ingest(t.Context(), request(telemetry, padded(n)))
			done <- err
		}()
		time.Sleep(5 * time.Minute)
		select {
		case err := <-done:
			t.Fatalf("did not block: %v", err)
		default:
		}
		fake.Down(nil)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		drain(t, s)
		if got := len(fake.AllRows()); got != n+1 {
			t.Errorf("%d rows, want %d", got, n+1)
		}
	})
}

// A spool that is smaller than a batch does not wait for the batch's age each
// time it is full, and says meanwhile who waits.
func TestFullSpoolSealsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		o := small(engine.BlockCaller)
		o.Batch = batching.Policy{MaxAge: time.Hour}
		s := open(t, t.TempDir(), fake, o)
		begun := time.Now()
		fake.Down(transporttest.Fail(transport.Transient))
		n := fill(t, s)
		if st := s.Stats(); st.Batches.Live() == 0 || st.WaitingForRoom != 0 {
			t.Errorf("a full spool with nobody waiting: %d batches, %d wait", st.Batches.Live(), st.WaitingForRoom)
		}
		done := make(chan error)
		for range 3 {
			go func() {
				_, err := s.Ingest(t.Context(), request(telemetry, padded(n)))
				done <- err
			}()
		}
		time.Sleep(time.Minute)
		if st := s.Stats(); st.WaitingForRoom != 3 {
			t.Errorf("%d wait, want 3", st.WaitingForRoom)
		}
		fake.Down(nil)
		for range 3 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(begun); waited > 10*time.Minute {
			t.Errorf("room came after %s", waited)
		}
		drain(t, s)
		if got := len(fake.AllRows()); got != n+3 || s.Stats().WaitingForRoom != 0 {
			t.Errorf("%d rows, want %d; %d wait", got, n+3, s.Stats().WaitingForRoom)
		}
		conserved(t, s)
	})
}

func TestFullSpoolEndsBlockingAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, t.TempDir(), fake, small(engine.BlockCaller))
		fill(t, s)
		done := make(chan error)
		go func() {
			_, err := s.Ingest(t.Context(), request(telemetry, padded(1)))
			done <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, engine.ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestFullSpoolDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Down(transporttest.Fail(transport.Transient))
		s := open(t, t.TempDir(), fake, small(engine.DropOldest))
		var receipts []ingest.Receipt
		for n := range 2000 {
			receipts = append(receipts, put(t, s, telemetry, padded(n))...)
		}
		st := s.Stats()
		if st.Settled.Dropped == 0 || st.Acked != 2000 {
			t.Fatalf("%+v", st)
		}
		conserved(t, s)
		oldest := state(t, s, receipts[0], ingest.Dropped)
		if oldest.Err() == nil {
			t.Error("a dropped record has no error")
		}
		fake.Down(nil)
		drain(t, s)
		got := fake.AllRows()
		if int64(len(got)) != 2000-s.Stats().Settled.Dropped {
			t.Errorf("%d rows, %d dropped", len(got), s.Stats().Settled.Dropped)
		}
		if !strings.Contains(strings.Join(got, "\n"), `{"n":1999,`) {
			t.Error("the youngest record was dropped")
		}
	})
}
