package queued

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"kustospool/cmd/bench/telemetry"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// BenchmarkSend delivers batches of 4 MiB to the simulator, four at a time as an
// engine does, from opening the payload to the message: raw bytes a second. The
// service does not ingest them: the table's ingestion is held back.
func BenchmarkSend(b *testing.B) {
	sim, err := kustosim.Start(&kustosim.Options{AutoCreate: true, BatchTime: 1 << 62, BatchItems: 1 << 30, BatchBytes: 1 << 60})
	if err != nil {
		b.Fatal(err)
	}
	defer sim.Close()
	client, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Protocol: Queue})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var data []byte
	for source := telemetry.New(1); len(data) < 4<<20; {
		data = append(source.Append(data), '\n')
	}
	var batches atomic.Int64
	send := func() error {
		n := batches.Add(1)
		batch := numbered(int(n))
		batch.Guarantee, batch.Confirm = ingest.AtLeastOnce, ingest.ConfirmAccepted
		_, err := client.Send(b.Context(), &transport.Delivery{Batch: batch, Attempt: 1, Payload: transporttest.Bytes(data), Journal: &transporttest.Journal{}})
		return err
	}
	if err := send(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ResetTimer()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				errs[i] = send()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, err := range errs {
		if err != nil {
			b.Fatal(fmt.Errorf("send: %w", err))
		}
	}
}
