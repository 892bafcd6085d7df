package queued

import (
	"net/http"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

func TestTransportContract(t *testing.T) {
	refusal := func(c *cloud, code string) func(testing.TB) {
		return func(testing.TB) {
			c.mu.Lock()
			defer c.mu.Unlock()
			used := false
			c.verdict = func(sent) map[string]any {
				if used {
					return nil
				}
				used = true
				return map[string]any{"Status": "Failed", "ErrorCode": code, "FailureStatus": "Permanent", "Details": "no, sig=" + secretSig}
			}
		}
	}
	transporttest.Run(t, transporttest.Harness{New: func(t *testing.T) *transporttest.Target {
		c := newCloud(t)
		return &transporttest.Target{
			Transport: c.client(&ClientOptions{TrackInterval: 10 * time.Millisecond, BlobSecret: c.secret}),
			PutBlob:   c.putBlob,
			Secrets:   []string{secretSig, secretToken},
			Settle:    func(testing.TB) { c.settle() },
			Rows: func(t testing.TB, p ingest.Properties) []string {
				var out []string
				for _, b := range c.payloads(p.Database + "/" + p.Table) {
					out = append(out, transporttest.Split(p, b)...)
				}
				return out
			},
			Down: func(_ testing.TB, down bool) {
				c.clearFault()
				if down {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.fault = func(*http.Request) fault { return fault{drop: true} }
				}
			},
			LoseReply: func(testing.TB) { c.setFault("POST queue", 1, fault{drop: true, after: true}) },
			Stall: func(testing.TB) func() {
				wait := make(chan struct{})
				c.mu.Lock()
				c.fault = func(*http.Request) fault { return fault{wait: wait} }
				c.mu.Unlock()
				return func() { c.clearFault(); close(wait) }
			},
			Refuse: map[transport.Class]func(testing.TB){
				transport.Malformed:    refusal(c, "Stream_WrongNumberOfFields"),
				transport.Held:         refusal(c, "BadRequest_TableNotExist"),
				transport.Permanent:    refusal(c, "BadRequest_NotSupported"),
				transport.Throttled:    func(testing.TB) { c.setFault("PUT blob", 0, fault{status: 503, code: "ServerBusy"}) },
				transport.Unauthorized: func(testing.TB) { c.setFault("POST queue", 1, fault{status: 403, code: "AuthorizationFailure"}) },
			},
		}
	}})
}

// delivery is one attempt at a batch of these bytes.
func delivery(b *ingest.Batch, data []byte) (*transport.Delivery, *transporttest.Journal) {
	j := &transporttest.Journal{}
	return &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(data), Journal: j}, j
}
