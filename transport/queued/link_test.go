package queued

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/telemetry"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/netfault"
	"kustospool/transport/internal/upload"
)

// A batch over a slow link, steady and with breaks. In full (LINK=full in the
// environment, half an hour) it is 100 MiB at 256 kbit/s with the defaults of
// engine and client; otherwise all times are a 32nd, the rate is 16 times as
// high, and so a block has the same size and is the same part of what the link
// carries between two breaks.
func TestBatchOverASlowLink(t *testing.T) {
	t.Parallel()
	full := os.Getenv("LINK") == "full"
	for _, tc := range []struct {
		name     string
		up, down time.Duration
	}{{"steady", 0, 0}, {"up 20 s, down 10 s", 20 * time.Second, 10 * time.Second}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			raw, rate, limit := int64(100<<20), int64(256_000/8), 2*time.Hour
			o := &engine.Options{Batch: batching.Policy{MaxBytes: raw, MaxAge: time.Hour}}
			so := upload.Options{}
			if !full {
				const scale = 16
				raw, rate, limit = raw/4, scale*rate, 4*time.Minute
				tc.up, tc.down = tc.up/scale, tc.down/scale
				o.Batch.MaxBytes = raw
				o.AttemptTimeout = 2 * time.Second // less than the upload takes, as the 10 minutes are
				o.RetryMin, o.RetryMax = time.Second/scale, time.Minute/scale
				so.BlockTime = 2 * time.Second / scale
			}
			l := newLinked(t, nil, &netfault.Options{BytesPerSecond: rate, Up: tc.up, Down: tc.down})
			spool, err := engine.Open(t.TempDir(), l.client(ClientOptions{}, so), o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := spool.Close(); err != nil {
					t.Error(err)
				}
			}()
			p := ingest.Properties{Database: "db1", Table: "tbl1", Format: ingest.JSON}
			source := telemetry.New(1)
			var texts []string
			var some []*ingest.Request
			for size := int64(0); size < raw-4096; {
				record := source.Append(nil)
				size += int64(len(record)) + 1
				texts = append(texts, string(record))
				some = append(some, &ingest.Request{Properties: p, Data: record})
				if len(some) == 1000 || size >= raw-4096 {
					if _, err := spool.IngestAll(t.Context(), some); err != nil {
						t.Fatal(err)
					}
					some = nil
				}
			}
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := spool.Drain(ctx); err != nil {
				t.Fatalf("%v; %+v", err, spool.Stats())
			}
			l.ingested(texts)
			st := spool.Stats()
			carried, _ := l.link.Carried()
			ratio := float64(carried) / float64(st.WireBytes)
			t.Logf("%d bytes raw, %d compressed, %d on the wire (%.3f) in %v; %s", st.RawBytes, st.WireBytes, carried, ratio, time.Since(begun).Round(time.Millisecond), figures(st.Transport))
			if st.SettledBatches.Ingested != 1 || ratio > 1.15 || ratio < 1 {
				t.Errorf("%d batches, %.3f times their bytes on the wire", st.SettledBatches.Ingested, ratio)
			}
			if !full && time.Since(begun) < 2*o.AttemptTimeout {
				t.Error("the upload took no longer than AttemptTimeout, so this test sees nothing")
			}
		})
	}
}

func figures(list any) string { return strings.TrimSpace(fmt.Sprint(list)) }
