package queued

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/azurite"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// What the tests of this package begin with.
var (
	startSim  = simspool.Start
	settleSim = simspool.Settle
)

// secretOf signs blobs of the simulator.
func secretOf(sim *kustosim.Sim) func(context.Context, string) (string, error) {
	return func(_ context.Context, blob string) (string, error) { return sim.BlobSAS(blob) }
}

// putBlob stores blobs that a client then refers to.
func putBlob(sim *kustosim.Sim) func(testing.TB, string, []byte) string {
	var n atomic.Int64
	return func(t testing.TB, extension string, data []byte) string {
		uri, err := sim.PutBlob(t.Context(), fmt.Sprintf("in/put %d%s", n.Add(1), extension), data)
		if err != nil {
			t.Fatal(err)
		}
		return uri
	}
}

func TestTransportContractOnSimulator(t *testing.T) {
	t.Run("queue", func(t *testing.T) { contractOnSimulator(t, Queue, StatusTable, nil) })
	t.Run("rest", func(t *testing.T) { contractOnSimulator(t, REST, StatusTable, nil) })
	t.Run("queue and peeked reports", func(t *testing.T) { contractOnSimulator(t, Queue, PeekReports, nil) })
	t.Run("queue and taken reports", func(t *testing.T) { contractOnSimulator(t, Queue, TakeReports, nil) })
}

// The same with real blobs, queues and tables.
func TestTransportContractOnAzurite(t *testing.T) {
	az := azurite.Start(t)
	storage := &kustosim.ExternalStorage{BlobURL: az.BlobURL, QueueURL: az.QueueURL, TableURL: az.TableURL, Account: az.Account, Key: az.Key}
	t.Run("status table", func(t *testing.T) { contractOnSimulator(t, Queue, StatusTable, storage) })
	t.Run("taken reports", func(t *testing.T) { contractOnSimulator(t, Queue, TakeReports, storage) })
}

// Auto where the service prefers REST, which it goes by as long as it may look for
// outcomes.
func TestForbiddenLooksOfAuto(t *testing.T) {
	contractOnSimulator(t, Auto, StatusTable, nil, "ForbiddenLooks")
}

func contractOnSimulator(t *testing.T, protocol Protocol, outcomes Outcomes, storage *kustosim.ExternalStorage, only ...string) {
	transporttest.Run(t, transporttest.Harness{
		// The simulator keeps only the hash of a format it cannot read.
		Formats: []ingest.Format{ingest.JSON, ingest.CSV},
		Only:    only,
		New: func(t *testing.T) *transporttest.Target {
			sim := startSim(t, &kustosim.Options{Storage: storage, UnknownResource: true, TagHitAsFailed: strings.HasSuffix(t.Name(), "/Repeat"),
				PreferredIngestion: map[Protocol]string{Auto: "Rest"}[protocol]})
			client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{TrackInterval: 10 * time.Millisecond, Protocol: protocol, Outcomes: outcomes, BlobSecret: secretOf(sim)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			refuse := func(code string) func(testing.TB) {
				return func(testing.TB) {
					sim.IngestFault("Telemetry", "Events", kustosim.IngestFault{Kind: kustosim.FailPermanent, Code: code, Times: 1})
				}
			}
			effect := struct {
				host    kustosim.Host
				path    string
				refusal int
			}{kustosim.Queue, "", 403}
			if protocol != Queue {
				effect.host, effect.path, effect.refusal = kustosim.DM, "/ingestion/queued/", 401
			}
			var forbid func(testing.TB) func()
			if protocol != Queue { // the signature of a status table or a report queue looks, not a role
				forbid = func(testing.TB) func() {
					return sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Method: "GET", PathContains: "/ingestion/queued/"})
				}
			}
			hosts := []kustosim.Host{kustosim.DM, kustosim.Blob, kustosim.Queue, kustosim.Table}
			var up []func()
			return &transporttest.Target{
				Transport: client,
				Settle:    func(t testing.TB) { settleSim(t, sim) },
				Prepare: func(t testing.TB, p ingest.Properties) {
					if err := sim.CreateTable(p.Database, p.Table); err != nil && !strings.Contains(err.Error(), "exist") {
						t.Fatal(err)
					}
				},
				Rows: func(t testing.TB, p ingest.Properties) []string {
					var out []string
					for _, row := range sim.Rows(p.Database, p.Table) {
						out = append(out, simspool.Text(row))
					}
					return out
				},
				Secrets: []string{"sig=", "authorizationContext"},
				PutBlob: putBlob(sim),
				Forbid:  forbid,
				Down: func(_ testing.TB, down bool) {
					for _, remove := range up {
						remove()
					}
					up = nil
					for _, h := range hosts {
						if down {
							up = append(up, sim.Fault(h, kustosim.Fault{Kind: kustosim.Down}))
						}
					}
				},
				LoseReply: func(testing.TB) {
					sim.Fault(effect.host, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", PathContains: effect.path, Times: 1})
				},
				Stall: func(testing.TB) func() {
					var removes []func()
					for _, h := range hosts {
						removes = append(removes, sim.Fault(h, kustosim.Fault{Kind: kustosim.Stall}))
					}
					return func() {
						for _, remove := range removes {
							remove()
						}
					}
				},
				Refuse: map[transport.Class]func(testing.TB){
					transport.Malformed: refuse("BadRequest_UnexpectedCharacterInInputStream"),
					transport.Held:      refuse("BadRequest_TableNotExist"),
					transport.Permanent: refuse("BadRequest_NotSupported"),
					transport.Throttled: func(testing.TB) {
						sim.Fault(kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Status: 503, Times: 3})
					},
					transport.Unauthorized: func(testing.TB) {
						sim.Fault(effect.host, kustosim.Fault{Kind: kustosim.Respond, Method: "POST", PathContains: effect.path, Status: effect.refusal, Times: 1, Code: "AuthorizationPermissionMismatch"})
					},
				},
			}
		}})
}

// A repeat of a batch leaves one copy with the tag and two without.
func TestTagIsWhatStopsARepeat(t *testing.T) {
	for guarantee, want := range map[ingest.Guarantee]int{ingest.ExactlyOnce: 2, ingest.AtLeastOnce: 4} {
		sim := startSim(t, nil)
		if err := sim.CreateTable("db1", "tbl1"); err != nil {
			t.Fatal(err)
		}
		client, err := NewClient(sim.Endpoint(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := jsonBatch()
		b.Guarantee = guarantee
		for attempt := range 2 {
			d, j := delivery(b, jsonLines)
			d.Attempt = attempt + 1
			if _, err := client.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			settleSim(t, sim)
			v, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
			if err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
				t.Errorf("%v, attempt %d: %+v, %v", guarantee, attempt+1, v, err)
			}
		}
		if n := sim.Count("db1", "tbl1"); n != want {
			t.Errorf("%v: %d rows, want %d", guarantee, n, want)
		}
		if s := sim.Stats(); s.RawSizeMismatch != 0 {
			t.Errorf("%d messages with a wrong RawDataSize", s.RawSizeMismatch)
		}
		client.Close()
	}
}

// Every kind of data error and of missing entity, as the simulated service
// finds it, comes back in its class.
func TestVerdictsOfTheSimulatedService(t *testing.T) {
	sim := startSim(t, &kustosim.Options{FailMalformedJSON: true})
	if err := sim.CreateTable("db1", "tbl1", kustosim.Column{Name: "a", Type: "long"}, kustosim.Column{Name: "b", Type: "string"}); err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, tc := range []struct {
		name  string
		props ingest.Properties
		table string
		data  string
		state ingest.State
		class transport.Class
	}{
		{"good", ingest.Properties{Format: ingest.CSV}, "tbl1", "1,x\n2,y\n", ingest.Succeeded, 0},
		{"fields", ingest.Properties{Format: ingest.CSV}, "tbl1", "1,x\n2,y,z\n", ingest.DeadLettered, transport.Malformed},
		{"quote", ingest.Properties{Format: ingest.CSV}, "tbl1", "1,\"x\n", ingest.DeadLettered, transport.Malformed},
		{"json", ingest.Properties{Format: ingest.MultiJSON}, "tbl1", `{"a":1`, ingest.DeadLettered, transport.Malformed},
		{"table", ingest.Properties{Format: ingest.CSV}, "absent", "1,x\n", ingest.DeadLettered, transport.Held},
		{"mapping", ingest.Properties{Format: ingest.JSON, MappingReference: "absent"}, "tbl1", `{"a":1}`, ingest.DeadLettered, transport.Held},
	} {
		b := testBatch(tc.props)
		b.ID, b.Properties.Table = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(i)+1, uint64(i)+1), tc.table
		d, j := delivery(b, []byte(tc.data))
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(tc.name, err)
		}
		settleSim(t, sim)
		v, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
		if err != nil || len(v) != 1 || v[0].State != tc.state || tc.class != 0 && v[0].Failure.Class != tc.class {
			t.Errorf("%s: %+v, %v", tc.name, v, err)
			if len(v) == 1 {
				t.Log(v[0].Failure)
			}
		}
	}
}

// A token goes where it must and shows nowhere.
func TestBearerToken(t *testing.T) {
	const token = "a-very-secret-token"
	sim := startSim(t, &kustosim.Options{Token: token, AutoCreate: true})
	for given, want := range map[string]transport.Class{token: 0, "another-token": transport.Unauthorized} {
		client, err := NewClient(sim.Endpoint(), static(given), nil)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := delivery(jsonBatch(), jsonLines)
		_, err = client.Send(t.Context(), d)
		if classOf(err) != want || err != nil && strings.Contains(err.Error(), given) {
			t.Errorf("%s: %v", given, err)
		}
		client.Close()
	}
}

type static string

func (s static) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(s), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// Nothing listening is not the same as an answer that got lost.
func TestQueueThatRefusesConnections(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true, Accounts: 1})
	client, err := NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	remove := sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.Refuse})
	d, j := delivery(jsonBatch(), jsonLines)
	_, err = client.Send(t.Context(), d)
	if classOf(err) != transport.Transient || j.Commits() != 1 {
		t.Errorf("%v, %d commits; want transient: it was certainly not accepted", err, j.Commits())
	}
	remove()
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Error(err)
	}
	var e *transport.Error
	if errors.As(err, &e) && e.Op != opEnqueue {
		t.Errorf("op %s", e.Op)
	}
}
