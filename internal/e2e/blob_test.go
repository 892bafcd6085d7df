package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/managed"
	"kustospool/transport/queued"
	"kustospool/transport/route"
)

// Blobs that are in storage already are ingested where they are, once, by
// every transport that can, over lost replies and a restart. The secret of one
// comes late, another blob is not there, and no secret is in any file.
func TestBlobsWhereTheyAre(t *testing.T) {
	type secretFunc = func(context.Context, string) (string, error)
	routed := func(endpoint string, secret secretFunc, by string) (transport.Transport, error) {
		queue, err := queued.NewClient(endpoint, nil, &queued.ClientOptions{TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		if err != nil {
			return nil, err
		}
		commands, err := direct.NewClient(endpoint, nil, &direct.ClientOptions{Async: true, TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		if err != nil {
			return nil, err
		}
		return route.New(route.Options{Transports: map[string]transport.Transport{"queued": queue, "direct": commands}, Default: by})
	}
	moves := []string{"direct", "queued"}
	for name, open := range map[string]func(endpoint string, secret secretFunc) (transport.Transport, error){
		"queue": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return queued.NewClient(endpoint, nil, &queued.ClientOptions{Protocol: queued.Queue, TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		},
		"rest": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return queued.NewClient(endpoint, nil, &queued.ClientOptions{Protocol: queued.REST, TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		},
		"direct": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return direct.NewClient(endpoint, nil, &direct.ClientOptions{TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		},
		"async": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return direct.NewClient(endpoint, nil, &direct.ClientOptions{Async: true, TrackInterval: 20 * time.Millisecond, BlobSecret: secret})
		},
		"routed to the queue": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return routed(endpoint, secret, "queued")
		},
		"routed to async commands, and to the queue after the restart": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			by := moves[0]
			moves = moves[1:]
			return routed(endpoint, secret, by)
		},
		"managed": func(endpoint string, secret secretFunc) (transport.Transport, error) {
			return managed.NewClient(endpoint, nil, &managed.ClientOptions{
				Queued: &queued.ClientOptions{TrackInterval: 20 * time.Millisecond, BlobSecret: secret}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, nil)
			for _, host := range []kustosim.Host{kustosim.Queue, kustosim.Table, kustosim.Engine} {
				sim.Fault(host, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", Every: 3, Times: 6})
			}
			var log lockedBuffer
			var given atomic.Bool
			secret := func(_ context.Context, blob string) (string, error) {
				if strings.Contains(blob, "late") && !given.Load() {
					return "", errors.New("not yet")
				}
				return sim.BlobSAS(blob)
			}
			dir := t.TempDir()
			begin := func() *engine.Spool {
				client, err := open(sim.Endpoint(), secret)
				if err != nil {
					t.Fatal(err)
				}
				o := quick()
				o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				return simspool.Open(t, dir, client, o)
			}
			s := begin()
			want := map[string]int{}
			var late ingest.Receipt
			put := func(name string, data []byte) ingest.Receipt {
				uri, err := sim.PutBlob(t.Context(), name, data)
				if err != nil {
					t.Fatal(err)
				}
				r, err := s.IngestBlob(t.Context(), telemetry, ingest.Blob{URI: uri})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			for n := range 12 {
				text := record(n, 1) + "\n" + record(n, 2) + "\n"
				want[record(n, 1)], want[record(n, 2)] = 1, 1
				switch {
				case n == 3:
					late = put("in/late.json", []byte(text))
				case n%2 == 0:
					put(fmt.Sprintf("in/rows %d.json.gz", n), zipped(t, text))
				default:
					put(fmt.Sprintf("in/rows %d.json", n), []byte(text))
				}
			}
			gone, err := s.IngestBlob(t.Context(), telemetry, ingest.Blob{URI: sim.Endpoint() + "/none/such.json"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if st, err := s.Wait(ctx, gone.ID); err != nil || st.State != ingest.DeadLettered || st.Failure.Code != "Download_AccountNotFound" {
				t.Errorf("a blob that is not there: %+v, %v", st, err)
			}
			if err := sim.Wait(ctx, func() bool { return sim.Count(database, tableName) == 22 }); err != nil {
				t.Fatalf("%d of 22 rows, while one blob waits for its secret: %v", sim.Count(database, tableName), err)
			}
			if st, err := s.Status(t.Context(), late.ID); err != nil || st.State.Final() || st.Failure == nil || st.Failure.Code != "BlobSecret" {
				t.Errorf("a blob without its secret: %+v, %v", st, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			given.Store(true)
			s = begin()
			drain(t, s, time.Minute)
			stats := s.Stats()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, text := range rowTexts(sim) {
				got[text]++
			}
			for text, n := range want {
				if got[text] != n {
					t.Errorf("%d times %s", got[text], text)
				}
			}
			if len(got) != len(want) || stats.Settled.DeadLettered != 1 || stats.Settled.Ingested+stats.Settled.Skipped != 12 {
				t.Errorf("%d distinct rows; %+v", len(got), stats)
			}
			secrets := [][]byte{[]byte("sig="), []byte("sig%3D")}
			searchFiles(t, dir, secrets)
			search(t, "the log", log.Bytes(), secrets)
			if log.Len() == 0 {
				t.Error("nothing was logged, so nothing was tested")
			}
		})
	}
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
