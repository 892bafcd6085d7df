package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/ledger"
)

// TestDiskFull fills a real volume while the service is away. The spool makes
// its callers wait; once the service is back it delivers, gives the space back,
// and takes records again.
func TestDiskFull(t *testing.T) {
	needMount(t)
	disk := mount(t, makeImage(t, 24<<20))
	t.Cleanup(func() { unmount(t, disk) }) // after the spool's own
	sim := startSim(t, nil)
	up := down(sim)
	o := quick()
	o.Batch.MaxBytes = 256 << 10
	o.Full = engine.BlockCaller // the default: a full spool makes callers wait
	s := mustOpen(t, disk+"/spool", sim.Endpoint(), o)

	var books ledger.Ledger
	pad := strings.Repeat("x", 16<<10)
	put := func(n int, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		rec := fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, pad)
		r, err := s.Ingest(ctx, &ingest.Request{Properties: telemetry, Data: []byte(rec)})
		if err == nil {
			books.Acked(r.String(), rec)
		}
		return err
	}
	n := 0
	for ; ; n++ {
		if err := put(n, 2*time.Second); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("record %d: %v, want to wait for room", n, err)
			}
			break
		}
		if n > 10_000 {
			t.Fatal("the volume never fills")
		}
	}
	t.Logf("full after %d records of 16 KiB on a volume of 24 MiB", n)
	if st := s.Stats(); st.Acked != int64(books.Len()) {
		t.Errorf("the books have %d records, %d were acknowledged", st.Acked, books.Len())
	}
	up()
	drain(t, s, time.Minute)
	if err := put(n+1, time.Minute); err != nil {
		t.Fatalf("after the drain: %v", err)
	}
	drain(t, s, time.Minute)
	balanced(t, sim, &books, ledger.ExactlyOnce)
	conserved(t, s)
}
