package transporttest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

func testCapabilities(t *testing.T, r *run) {
	caps := r.Transport.Capabilities()
	if caps.MaxBatchBytes < 0 {
		t.Errorf("MaxBatchBytes is %d", caps.MaxBatchBytes)
	}
	r.deliver(t, r.parcel(t, r.json(), 1), delivery{})
	if again := r.Transport.Capabilities(); again != caps {
		t.Errorf("capabilities changed from %+v to %+v", caps, again)
	}
	if tracker, ok := r.Transport.(transport.Tracker); ok {
		if every, atMost := tracker.Cadence(); every <= 0 || atMost <= 0 {
			t.Errorf("Cadence is every %v for %d batches, want both positive", every, atMost)
		}
		if verdicts, err := tracker.Track(t.Context(), nil); err != nil || len(verdicts) != 0 {
			t.Errorf("Track of nothing is %v, %v", verdicts, err)
		}
	}
}

func testArrives(t *testing.T, r *run) {
	for _, n := range []int{1, 2, 1000} {
		p := r.parcel(t, r.json(), n)
		a := r.deliver(t, p, delivery{})
		if a.ack.State == ingest.Skipped {
			t.Errorf("the first attempt of %d records is skipped", n)
		}
		r.wantCopies(t, p, 1)
		if n := a.payload.LateReads(); n != 0 {
			t.Errorf("the payload was read %d times after Send returned", n)
		}
	}
}

func testFormats(t *testing.T, r *run) {
	for i, f := range r.h.Formats {
		props := ingest.Properties{Database: "Telemetry", Table: fmt.Sprintf("Format%d", i), Format: f}
		p := r.parcel(t, props, 3)
		r.deliver(t, p, delivery{})
		r.wantOnly(t, props, p)
	}
}

// Names must neither break nor meet each other.
func testNames(t *testing.T, r *run) {
	parcels := map[[2]string]*parcel{}
	for _, name := range r.h.Names {
		p := r.parcel(t, ingest.Properties{Database: name[0], Table: name[1], Format: ingest.JSON}, 2)
		r.deliver(t, p, delivery{})
		parcels[name] = p
	}
	for _, name := range r.h.Names {
		r.wantOnly(t, parcels[name].batch.Properties, parcels[name])
	}
}

// A payload of many blocks whose bytes do not compress arrives byte by byte.
func testLarge(t *testing.T, r *run) {
	size := r.h.LargeBytes
	if m := r.Transport.Capabilities().MaxBatchBytes; m > 0 {
		size = int(min(int64(size), m))
	}
	p := r.parcel(t, r.json(), 1)
	p.records = nil
	sum := sha256.Sum256([]byte(t.Name()))
	for n := 0; n < size-1024; {
		text := ""
		for range 8 {
			sum = sha256.Sum256(sum[:])
			text += hex.EncodeToString(sum[:])
		}
		rec := fmt.Sprintf(`{"id":"%d","text":%q}`, len(p.records), text)
		p.records = append(p.records, rec)
		n += len(rec) + 1
	}
	p.data = Join(p.records)
	p.batch.Last = uint64(len(p.records))
	p.batch.ID = ingest.NewBatchID(r.spool, p.batch.Lane, p.batch.First, p.batch.Last)
	p.batch.RawBytes = int64(len(p.data))
	r.deliver(t, p, delivery{})
	r.wantOnly(t, p.batch.Properties, p)
}

// Different batches may be sent at the same time.
func testConcurrent(t *testing.T, r *run) {
	var parcels [2][]*parcel
	var wg sync.WaitGroup
	for i := range 8 {
		props := ingest.Properties{Database: "Telemetry", Table: fmt.Sprintf("Events%d", i%2), Format: ingest.JSON}
		p := r.parcel(t, props, 50)
		parcels[i%2] = append(parcels[i%2], p)
		wg.Go(func() {
			if a := r.send(quiet{t}, p, delivery{}); a.err != nil {
				t.Errorf("Send: %v", a.err)
			}
		})
	}
	wg.Wait()
	for i := range parcels {
		r.wantOnly(t, parcels[i][0].batch.Properties, parcels[i]...)
	}
}

// quiet turns Fatalf into Errorf, for goroutines that must not end the test.
type quiet struct{ testing.TB }

func (q quiet) Fatalf(format string, args ...any) { q.Errorf(format, args...) }
