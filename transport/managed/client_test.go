package managed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/netfault"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) (*kustosim.Sim, *Client) {
	t.Helper()
	sim := simspool.Start(t, nil)
	return sim, openOn(t, sim, azcore.ClientOptions{})
}

// openOn opens a client whose requests go as o says, and ends both with the
// test.
func openOn(t testing.TB, sim *kustosim.Sim, o azcore.ClientOptions) *Client {
	t.Helper()
	client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Stream: &direct.ClientOptions{ClientOptions: o},
		Queued: &queued.ClientOptions{ClientOptions: o, TrackInterval: 10 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// What the suite sends is exactly-once, so this is the way by the queue.
func TestContract(t *testing.T) {
	suite(t, 5<<20, func(c *Client) transport.Transport { return c }, kustosim.Queue, "")
}

// streams is the client as one that keeps at-least-once only: what the suite
// sends then is streamed.
type streams struct{ *Client }

func (streams) Capabilities() transport.Capabilities { return transport.Capabilities{Blobs: true} }

func (s streams) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if d.Batch.Guarantee == ingest.ExactlyOnce {
		return transport.Ack{}, errors.New("these are streams")
	}
	return s.Client.Send(ctx, d)
}

func TestContractOfStreams(t *testing.T) {
	suite(t, 3<<20, func(c *Client) transport.Transport { return streams{c} }, kustosim.Engine, "/rest/ingest/")
}

// suite runs the contract; lost is where a reply gets lost.
func suite(t *testing.T, large int, as func(*Client) transport.Transport, lost kustosim.Host, path string) {
	transporttest.Run(t, transporttest.Harness{Formats: []ingest.Format{ingest.JSON, ingest.CSV}, LargeBytes: large, New: func(t *testing.T) *transporttest.Target {
		sim, client := open(t)
		tg := target(sim, as(client))
		tg.LoseReply = func(testing.TB) {
			sim.Fault(lost, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", PathContains: path, Times: 1})
		}
		return tg
	}})
}

// What happens to the requests that carry the payload, below the client.
func TestBrokenRequests(t *testing.T) {
	for name, way := range map[string]struct {
		as    func(*Client) transport.Transport
		where netfault.Fault
	}{
		"upload": {func(c *Client) transport.Transport { return c }, netfault.Fault{Method: http.MethodPut, Times: 1}},
		"stream": {func(c *Client) transport.Transport { return streams{c} }, netfault.Fault{PathContains: "/rest/ingest/", Times: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{Only: []string{"BrokenRequests"}, New: func(t *testing.T) *transporttest.Target {
				set := new(netfault.Set)
				wire := &http.Transport{}
				faulty := &netfault.RoundTripper{Next: wire, Faults: set}
				t.Cleanup(func() { faulty.Close(); wire.CloseIdleConnections() })
				sim := simspool.Start(t, nil)
				tg := target(sim, way.as(openOn(t, sim, azcore.ClientOptions{Transport: &http.Client{Transport: faulty}})))
				tg.Breaks = set.Breaks(way.where)
				return tg
			}})
		})
	}
}

// target is a transport on a simulator.
func target(sim *kustosim.Sim, tr transport.Transport) *transporttest.Target {
	return &transporttest.Target{
		Transport: tr,
		Settle:    func(t testing.TB) { simspool.Settle(t, sim) },
		Prepare: func(t testing.TB, p ingest.Properties) {
			if err := sim.CreateTable(p.Database, p.Table); err != nil && !strings.Contains(err.Error(), "exist") {
				t.Fatal(err)
			}
			if err := sim.SetStreaming(p.Database, p.Table, true); err != nil {
				t.Fatal(err)
			}
		},
		Rows: func(_ testing.TB, p ingest.Properties) []string {
			var out []string
			for _, row := range sim.Rows(p.Database, p.Table) {
				var csv struct{ C0, C1, C2 *string }
				if json.Unmarshal(row, &csv) == nil && csv.C0 != nil {
					out = append(out, fmt.Sprintf("%s,%s,%q", *csv.C0, *csv.C1, *csv.C2))
					continue
				}
				out = append(out, string(row))
			}
			return out
		},
		Secrets: []string{"sig=", "authorizationContext"},
		PutBlob: func(t testing.TB, extension string, data []byte) string {
			uri, err := sim.PutBlob(t.Context(), fmt.Sprintf("in/%d%s", len(sim.Blobs()), extension), data)
			if err != nil {
				t.Fatal(err)
			}
			return uri + ";managed_identity=system"
		},
	}
}

var lines = "{\"a\":1}\n{\"a\":2}\n"

func send(t testing.TB, c *Client, n uint64, attempt int, data string, progress []byte) (transport.Ack, *transporttest.Journal, error) {
	t.Helper()
	j := &transporttest.Journal{}
	ack, err := c.Send(t.Context(), &transport.Delivery{Attempt: attempt, Progress: progress, Payload: transporttest.Bytes([]byte(data)), Journal: j,
		Batch: &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, n, n), Lane: 1, First: n, Last: n + 1, Guarantee: ingest.AtLeastOnce,
			Confirm: ingest.ConfirmIngested, RawBytes: int64(len(data)), Properties: ingest.Properties{Database: "db1", Table: "tbl1", Format: ingest.JSON}}})
	if j.Commits() > 1 {
		t.Errorf("%d commits in one attempt", j.Commits())
	}
	return ack, j, err
}

func TestWayOfABatch(t *testing.T) {
	sim, c := open(t)
	if err := sim.CreateTable("db1", "tbl1"); err != nil {
		t.Fatal(err)
	}
	want := func(step string, got, state ingest.State, err error, s counts) {
		t.Helper()
		if err != nil || got != state {
			t.Errorf("%s: %v, %v; want %v", step, got, err, state)
		}
		if c.counts != s {
			t.Errorf("%s: %+v, want %+v", step, c.counts, s)
		}
	}
	// The table takes no streams: the queue has the batch, and the table's next
	// one does not try.
	ack, _, err := send(t, c, 1, 1, lines, nil)
	want("no policy", ack.State, ingest.Accepted, err, counts{Queued: 1, FellBack: 1})
	if err := sim.SetStreaming("db1", "tbl1", true); err != nil {
		t.Fatal(err)
	}
	ack, _, err = send(t, c, 3, 1, lines, nil)
	want("remembered", ack.State, ingest.Accepted, err, counts{Queued: 2, FellBack: 1})

	c.queueUntil = map[table]time.Time{} // a quarter of an hour later
	ack, _, err = send(t, c, 5, 1, lines, nil)
	want("policy", ack.State, ingest.Succeeded, err, counts{Streamed: 1, Queued: 2, FellBack: 1})

	ack, _, err = send(t, c, 7, 1, strings.Repeat(`{"a":1}`+"\n", 600_000), nil)
	want("too large", ack.State, ingest.Accepted, err, counts{Streamed: 1, Queued: 3, FellBack: 1})

	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 429, PathContains: "/rest/ingest/", Times: 1})
	ack, _, err = send(t, c, 9, 1, lines, nil)
	want("throttled", ack.State, ingest.Accepted, err, counts{Streamed: 1, Queued: 4, FellBack: 2})
	c.queueUntil = map[table]time.Time{}

	// A permanent error is no reason to queue. The fault is for the stream, so
	// nothing queued may be left to meet it.
	simspool.Settle(t, sim)
	sim.IngestFault("db1", "tbl1", kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: "BadRequest_NotSupported", Times: 1})
	_, _, err = send(t, c, 11, 1, lines, nil)
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != transport.Permanent || c.counts.Queued != 4 {
		t.Errorf("permanent: %v, %+v", err, c.counts)
	}

	// A stream of unknown outcome; the next attempt goes by the queue, and the
	// rows that may be doubled are counted.
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 504, PathContains: "/rest/ingest/", Times: 1})
	_, j, err := send(t, c, 13, 1, lines, nil)
	if !errors.As(err, &e) || e.Class != transport.Unknown || !e.Untraceable {
		t.Errorf("unknown: %v", err)
	}
	ack, _, err = send(t, c, 13, 2, lines, j.Last())
	want("second attempt", ack.State, ingest.Accepted, err, counts{Streamed: 1, Queued: 5, FellBack: 2, PossibleDuplicates: 2})
	simspool.Settle(t, sim)
	if n := sim.Count("db1", "tbl1"); n != 5*2+600_000 {
		t.Errorf("%d rows", n)
	}
}
