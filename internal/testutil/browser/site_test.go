package browser

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/operate"
	"kustospool/statushttp"
	"kustospool/transport/queued"
)

const database = "Demo"

// site is a simulated service, a spool that delivers to it by queue, and the spool's page
// behind a listener.
type site struct {
	sim   *kustosim.Sim
	spool *engine.Spool
	dir   string // of the spool
	url   string
}

// start starts a site that ends with the test. Its page may be acted on, and looks at the
// spool as often as it can.
func start(t *testing.T, o statushttp.Options, tables ...string) *site {
	t.Helper()
	chromium.context(t)
	s := &site{sim: simspool.Start(t, nil), dir: t.TempDir()}
	for _, table := range tables {
		if err := s.sim.CreateTable(database, table); err != nil {
			t.Fatal(err)
		}
	}
	client, err := queued.NewClient(s.sim.Endpoint(), nil, &queued.ClientOptions{
		TrackInterval: 20 * time.Millisecond, RequestTimeout: 5 * time.Second, UploadTimeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.spool = simspool.Open(t, s.dir, client, &engine.Options{
		Batch:    batching.Policy{MaxAge: 20 * time.Millisecond},
		RetryMin: 5 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		MaxDiskBytes: 256 << 20,
	})
	o.Actions = true
	if o.Every == 0 {
		o.Every = 100 * time.Millisecond
	}
	page, err := statushttp.New(renamed{s.spool.Operator().(operator)}, &o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(page)
	t.Cleanup(func() {
		if err := page.Close(); err != nil {
			t.Errorf("closing the page: %v", err)
		}
		server.Close()
	})
	s.url = server.URL
	return s
}

// operator is what a spool in use can be asked.
type operator interface {
	operate.Spool
	operate.Controller
	operate.DeadKeeper
}

// renamed is a spool whose directory is not that of the test, which a picture would show.
type renamed struct{ operator }

func (r renamed) Status(ctx context.Context, q operate.StatusQuery) (*operate.Status, error) {
	status, err := r.operator.Status(ctx, q)
	if status != nil {
		copied := *status
		copied.Spool = "/var/lib/vessel/spool"
		status = &copied
	}
	return status, err
}

// down takes every host of the service away and returns what brings it back.
func (s *site) down() (up func()) {
	var back []func()
	for _, host := range []kustosim.Host{kustosim.DM, kustosim.Blob, kustosim.Queue, kustosim.Table} {
		back = append(back, s.sim.Fault(host, kustosim.Fault{Kind: kustosim.Refuse}))
	}
	return func() {
		for _, remove := range back {
			remove()
		}
	}
}

// produce ingests a record into a table every few milliseconds until it is stopped, and
// then says how many were acknowledged.
func (s *site) produce(t *testing.T, table string) (stop func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		n := 0
		defer func() { done <- n }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			// The context ends the wait for the next record, and not an ingestion.
			if _, err := s.ingest(context.WithoutCancel(ctx), table, fmt.Sprintf(`{"n":%d}`, n)); err != nil {
				t.Errorf("a producer of %s: %v", table, err)
				return
			}
			n++
		}
	}()
	stopped := -1
	stop = func() int {
		cancel()
		if stopped < 0 {
			stopped = <-done
		}
		return stopped
	}
	t.Cleanup(func() { stop() })
	return stop
}

func (s *site) ingest(ctx context.Context, table, record string) (ingest.Receipt, error) {
	return s.spool.Ingest(ctx, &ingest.Request{Properties: ingest.Properties{Database: database, Table: table, Format: ingest.JSON}, Data: []byte(record)})
}

// kill has the service refuse a record for good, and returns the ID of its dead letter
// and what mends the service.
func (s *site) kill(t *testing.T, table, record, details string) (id string, mend func()) {
	t.Helper()
	mend = s.sim.IngestFault(database, table, kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: "BadRequest_InvalidSchema", Details: details})
	r, err := s.ingest(t.Context(), table, record)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, err := s.spool.Wait(ctx, r.ID)
	if err != nil || status.State != ingest.DeadLettered {
		t.Fatalf("the record is no dead letter: %+v, %v", status, err)
	}
	return status.Batch.String(), mend
}

// drain waits until everything is delivered.
func (s *site) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.spool.Drain(ctx); err != nil {
		t.Fatalf("%v; %+v", err, s.spool.Stats())
	}
}

// holds fails the test unless the table has the record once and nothing else.
func (s *site) holds(t *testing.T, table, record string) {
	t.Helper()
	rows := s.sim.Rows(database, table)
	if len(rows) != 1 || string(rows[0]) != record {
		t.Errorf("the table holds %q, want %q once", rows, record)
	}
}
