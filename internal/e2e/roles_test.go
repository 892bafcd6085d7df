package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/direct"
	"kustospool/transport/managed"
	"kustospool/transport/queued"
)

type bearer string

func (b bearer) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(b), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A box whose principal is an Ingestor and no more delivers each record once
// through refusals and ambiguous replies, also where the log of commands is
// closed to it.
func TestIngestorIsEnoughForCommands(t *testing.T) {
	for name, fault := range map[string]kustosim.Fault{
		"429":         {Kind: kustosim.Respond, Status: 429},
		"520 instead": {Kind: kustosim.Respond, Status: 520},
		"520 after":   {Kind: kustosim.RespondLate, Status: 520},
		"reset after": {Kind: kustosim.DropReply},
	} {
		for _, log := range []bool{true, false} {
			t.Run(map[bool]string{true: name, false: name + ", no log"}[log], func(t *testing.T) {
				t.Parallel()
				sim := startSim(t, &kustosim.Options{AutoCreate: true, Principals: map[string]kustosim.Role{"box": kustosim.Ingestor}})
				third := fault
				third.PathContains, third.Every = ".ingest into", 3
				sim.Fault(kustosim.Engine, third)
				if !log {
					sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: ".show commands"})
				}
				client, err := direct.NewClient(sim.Endpoint(), bearer("box"), &direct.ClientOptions{TrackInterval: 20 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				o := quick()
				o.Batch.MaxBytes = 2 << 10
				s, err := engine.Open(t.TempDir(), client, o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Errorf("closing the spool: %v", err)
					}
				})
				books := &ledger.Ledger{}
				for i := range 100 {
					text := record(1, i)
					r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
					if err != nil {
						t.Fatal(err)
					}
					books.Acked(r.ID.String(), text)
				}
				drain(t, s, time.Minute)
				balanced(t, sim, books, ledger.ExactlyOnce)
				conserved(t, s)
				if sim.Stats().FaultsStruck == 0 {
					t.Error("no fault struck")
				}
			})
		}
	}
}

// The same of managed ingestion: a stream that was refused, or whose outcome nobody
// can be asked about, goes to the queue.
func TestIngestorIsEnoughForManaged(t *testing.T) {
	for name, fault := range map[string]kustosim.Fault{
		"429":         {Kind: kustosim.Respond, Status: 429},
		"503 early":   {Kind: kustosim.RespondEarly, Status: 503},
		"502 after":   {Kind: kustosim.RespondLate, Status: 502},
		"redirect":    {Kind: kustosim.Respond, Status: 307, Location: "/elsewhere"},
		"reset after": {Kind: kustosim.DropReply},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := startSim(t, &kustosim.Options{Token: "root", Principals: map[string]kustosim.Role{"box": kustosim.Ingestor}})
			streamOn(t, sim)
			fault.PathContains, fault.Every = "/rest/ingest/", 3
			sim.Fault(kustosim.Engine, fault)
			client, err := managed.NewClient(sim.Endpoint(), bearer("box"), &managed.ClientOptions{ThrottleFor: time.Second,
				Queued: &queued.ClientOptions{Protocol: queued.Queue, TrackInterval: 20 * time.Millisecond}})
			if err != nil {
				t.Fatal(err)
			}
			o := quick()
			o.Guarantee, o.Batch.MaxBytes = ingest.AtLeastOnce, 2<<10
			s, err := engine.Open(t.TempDir(), client, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("closing the spool: %v", err)
				}
			})
			books := &ledger.Ledger{}
			for i := range 100 {
				text := record(1, i)
				r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
				if err != nil {
					t.Fatal(err)
				}
				books.Acked(r.ID.String(), text)
			}
			drain(t, s, time.Minute)
			balanced(t, sim, books, ledger.AtLeastOnce)
			if st := sim.Stats(); st.FaultsStruck == 0 || st.Streamed == 0 {
				t.Errorf("%d faults struck, %d streams", st.FaultsStruck, st.Streamed)
			}
		})
	}
}

// The right to ask for outcomes over REST is taken away when batches are accepted.
// The same client gets them settled after the grace, and so does one that is opened
// by queue; the tag keeps the rows single, and without one they are counted. Control:
// where the right stays nothing is sent again.
func TestBatchesThatNobodyMayAskAboutAreSettled(t *testing.T) {
	for name, tt := range map[string]struct {
		guarantee ingest.Guarantee
		reopened  bool // by queue
		forbidden bool
	}{
		"auto":                {ingest.ExactlyOnce, false, true},
		"auto, at least once": {ingest.AtLeastOnce, false, true},
		"drained by queue":    {ingest.ExactlyOnce, true, true},
		"control":             {ingest.AtLeastOnce, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := startSim(t, &kustosim.Options{PreferredIngestion: "Rest", Principals: map[string]kustosim.Role{"box": kustosim.Ingestor | kustosim.User}})
			// What nothing is known of yet is accepted, and waits.
			operation := kustosim.Fault{Kind: kustosim.Respond, Status: 503, Method: http.MethodGet, PathContains: "/ingestion/queued/"}
			open := func(dir string, p queued.Protocol) *engine.Spool {
				client, err := queued.NewClient(sim.Endpoint(), bearer("box"), &queued.ClientOptions{Protocol: p, TrackInterval: 10 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				o := quick()
				o.Guarantee = tt.guarantee
				return simspool.Open(t, dir, client, o)
			}
			dir := t.TempDir()
			s := open(dir, queued.Auto)
			books := &ledger.Ledger{}
			put := func(n int) {
				text := record(1, n)
				r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
				if err != nil {
					t.Fatal(err)
				}
				books.Acked(r.ID.String(), text)
			}
			put(0)
			drain(t, s, time.Minute) // over REST, with the right
			answer := sim.Fault(kustosim.DM, operation)
			put(1)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := sim.Wait(t.Context(), func() bool { return sim.Stats().RequestsQueued == 2 && sim.Count(database, tableName) == 2 }); err != nil {
				t.Fatal(err)
			}
			if tt.forbidden {
				operation.Status = http.StatusForbidden
				sim.Fault(kustosim.DM, operation)
			}
			answer() // the one before it strikes first
			if tt.reopened {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(dir, queued.Queue)
			}
			drain(t, s, time.Minute)
			report, st := balanced(t, sim, books, of(tt.guarantee)), s.Stats()
			conserved(t, s)
			if sent := sim.Stats().MessagesPosted; (sent == 1) != tt.forbidden {
				t.Errorf("%d messages were posted", sent)
			}
			if doubled := tt.forbidden && tt.guarantee == ingest.AtLeastOnce; (report.Extra == 1) != doubled || int64(report.Extra) != st.Duplicates.Possible {
				t.Errorf("%d rows are there twice, %d were counted", report.Extra, st.Duplicates.Possible)
			}
		})
	}
}

// streamOn has the table take streams, as an Admin.
func streamOn(t *testing.T, sim *kustosim.Sim) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", sim.Endpoint()+"/v1/rest/mgmt",
		strings.NewReader(`{"db":"`+database+`","csl":".alter table `+tableName+` policy streamingingestion enable"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer root")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}
