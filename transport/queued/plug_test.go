package queued

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/reference"
	"kustospool/transport/transporttest"
)

// deaths are how a call into code of the caller's can fail to return.
var deaths = map[string]func(){"panic": func() { panic("boom sig=" + secretSig) }, "goexit": runtime.Goexit}

func TestBlobSecretDies(t *testing.T) {
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			client := c.client(&ClientOptions{BlobSecret: func(context.Context, string) (string, error) { die(); return "", nil }})
			b, data := referring(t, 1, ingest.Blob{URI: "https://acc.blob.core.windows.net/c/b.json"}, ingest.Properties{Format: ingest.JSON})
			d, j := delivery(b, data)
			_, err := client.Send(t.Context(), d)
			if e := asError(err); e == nil || e.Class != transport.Held || e.Code != reference.CodeSecret ||
				!strings.Contains(e.Message, "panicked") || strings.Contains(err.Error(), secretSig) {
				t.Errorf("%v", err)
			}
			if j.Commits()+j.Notes() != 0 {
				t.Error("something was sent")
			}
		})
	}
}

// mortal is a credential and an HTTP client that die while they are told to.
type mortal struct {
	die  func()
	dies atomic.Bool
	next http.RoundTripper
}

func (m *mortal) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if m.dies.Load() {
		m.die()
	}
	return static("x").GetToken(ctx, o)
}

func (m *mortal) Do(r *http.Request) (*http.Response, error) {
	if m.dies.Load() {
		m.die()
	}
	return m.next.RoundTrip(r)
}

// A credential that dies is an outage, and leaves nothing locked behind.
func TestCredentialDies(t *testing.T) {
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{AutoCreate: true})
			m := &mortal{die: die}
			m.dies.Store(true)
			client, err := NewClient(sim.Endpoint(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for range 2 {
				d, _ := delivery(jsonBatch(), jsonLines)
				_, err = client.Send(t.Context(), d)
				if c := classOf(err); c != transport.Unauthorized && c != transport.Transient || !strings.Contains(err.Error(), "GetToken") || strings.Contains(err.Error(), secretSig) {
					t.Errorf("%v", err)
				}
			}
			m.dies.Store(false)
			d, _ := delivery(jsonBatch(), jsonLines)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err = client.Send(ctx, d); err != nil && !strings.Contains(err.Error(), "GetToken") { // the last error is told for a moment
				t.Errorf("once it is well: %v", err)
			}
		})
	}
}

// An HTTP client that dies in the goroutines of Track is an error of Track.
func TestTrackDies(t *testing.T) {
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{AutoCreate: true})
			wire := &http.Transport{}
			defer wire.CloseIdleConnections()
			m := &mortal{die: die, next: wire}
			client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{ClientOptions: azcore.ClientOptions{Transport: m}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			d, j := delivery(jsonBatch(), jsonLines)
			if _, err := client.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			settleSim(t, sim)
			pending := []transport.Pending{{Batch: d.Batch, Progress: j.Last()}}
			m.dies.Store(true)
			var vs []transport.Verdict
			err = transport.Guard("Track", func() (err error) { // what dies in Track's own goroutine is the engine's to guard
				vs, err = client.Track(t.Context(), pending)
				return err
			})
			if err == nil || len(vs) != 0 {
				t.Errorf("%v, %v", vs, err)
			}
			m.dies.Store(false)
			if vs, err = client.Track(t.Context(), pending); err != nil || len(vs) != 1 || vs[0].State != ingest.Succeeded {
				t.Errorf("once it is well: %v, %v", vs, err)
			}
		})
	}
}

// A leader that dies in the request for several tells none of the others that
// their blobs were taken.
func TestLeaderDies(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true})
	wire := &http.Transport{}
	defer wire.CloseIdleConnections()
	client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Protocol: REST, ClientOptions: azcore.ClientOptions{Transport: transporter(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/ingestion/queued/") {
			panic("boom")
		}
		return wire.RoundTrip(r)
	})}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const n = 4
	errs := make(chan error, n)
	for i := range n {
		go func() {
			b := jsonBatch()
			b.Guarantee = ingest.AtLeastOnce
			b.ID = ingest.NewBatchID(ingest.SpoolID{1}, uint32(i+1), 1, 5)
			j := &transporttest.Journal{}
			errs <- transport.Guard("Send", func() error {
				_, err := client.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(jsonLines), Journal: j})
				return err
			})
		}()
	}
	for range n {
		if err := <-errs; err == nil || transport.Classify(err, true).Class != transport.Unknown {
			t.Errorf("%v", err)
		}
	}
}

type transporter func(*http.Request) (*http.Response, error)

func (f transporter) Do(r *http.Request) (*http.Response, error) { return f(r) }
