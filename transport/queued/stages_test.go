package queued

import (
	"net"
	"testing"
	"time"

	"kustospool/transport"
)

// The options reach the wire: a service that stalls at a stage costs that
// stage's time, and what is known of the effect goes by the stage.
func TestStageTimeouts(t *testing.T) {
	const patient = 30 * time.Second
	quick := func(t *testing.T, begun time.Time) {
		t.Helper()
		if took := time.Since(begun); took < time.Second || took > patient/3 {
			t.Errorf("it took %v, want little over a second", took)
		}
	}
	t.Run("headers", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		wait := make(chan struct{})
		defer close(wait)
		c.setFault("POST queue", 0, fault{wait: wait})
		client := c.client(&ClientOptions{RequestTimeout: patient, HeaderTimeout: time.Second})
		d, j := delivery(jsonBatch(), jsonLines)
		begun := time.Now()
		if _, err := client.Send(t.Context(), d); classOf(err) != transport.Unknown || j.Commits() != 1 {
			t.Errorf("an enqueue without a reply: %v", err)
		}
		quick(t, begun)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // nobody accepts
		client, err := NewClient("https://"+ln.Addr().String(), nil, &ClientOptions{RequestTimeout: patient, TLSTimeout: time.Second, Protocol: Queue})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		d, j := delivery(jsonBatch(), jsonLines)
		begun := time.Now()
		if _, err := client.Send(t.Context(), d); classOf(err) != transport.Transient || j.Commits() != 0 {
			t.Errorf("a service that says nothing of TLS: %v", err)
		}
		quick(t, begun)
	})
}

func TestStageTimeoutsByDefault(t *testing.T) {
	o := (&ClientOptions{RequestTimeout: 7 * time.Second}).withDefaults()
	if o.ConnectTimeout != 30*time.Second || o.TLSTimeout != 15*time.Second || o.HeaderTimeout != 7*time.Second || o.StallTimeout != time.Minute || o.UploadTimeout != 10*time.Minute || o.MinRate != 1024 {
		t.Errorf("%+v", o)
	}
}
