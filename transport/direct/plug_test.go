package direct

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

type transporter func(*http.Request) (*http.Response, error)

func (f transporter) Do(r *http.Request) (*http.Response, error) { return f(r) }

// An HTTP client that dies in the middle of a command does not take the
// command's slot with it: after as many as there are slots the next still goes.
func TestDeathGivesItsSlotBack(t *testing.T) {
	for name, die := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{AutoCreate: true})
			wire := &http.Transport{}
			defer wire.CloseIdleConnections()
			left := 20 // more than there are slots
			client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Inline: true, SlotWait: 5 * time.Second, ClientOptions: azcore.ClientOptions{Transport: transporter(func(r *http.Request) (*http.Response, error) {
				if r.Body != nil && left > 0 {
					body, err := io.ReadAll(r.Body)
					r.Body.Close()
					if err == nil && strings.Contains(string(body), ".ingest inline") {
						left--
						die()
					}
					r.Body = io.NopCloser(strings.NewReader(string(body)))
				}
				return wire.RoundTrip(r)
			})}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			send := func(n uint64) error {
				b, data := jsonBatch(ingest.ExactlyOnce), []byte("{\"a\":1}\n")
				b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, n, n)
				return transport.Guard("Send", func() error {
					_, err := client.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(data), Journal: &transporttest.Journal{}})
					return err
				})
			}
			for n := range uint64(20) {
				if err := send(n + 1); err == nil || !strings.Contains(err.Error(), "Send panicked") {
					t.Fatalf("attempt %d: %v", n, err)
				}
			}
			if err := send(99); err != nil {
				t.Error(err)
			}
			for _, f := range client.Figures() {
				if f.Name == "capacity_in_flight" && f.Value != 0 {
					t.Errorf("%d slots are in use", f.Value)
				}
			}
		})
	}
}
