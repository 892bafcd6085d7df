package e2e_test

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// transactions is how many transactions the ledger of a closed spool has had.
func transactions(t *testing.T, dir string) int {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "manifest.db"), 0o600, &bolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

// delivered delivers a number of batches of each of some tables, one behind the
// other or all at once, and counts the ledger's transactions.
func delivered(t *testing.T, tables, batches, bytes int) int {
	t.Helper()
	sim, dir := startSim(t, nil), t.TempDir()
	o := quick()
	o.Batch.MaxAge, o.Batch.MaxBytes, o.SegmentBytes, o.Senders = time.Hour, 16<<20, 64<<20, 64
	s, err := openQueued(dir, sim.Endpoint(), o)
	if err != nil {
		t.Fatal(err)
	}
	for range batches {
		for i := range tables {
			p := telemetry
			if p.Table = fmt.Sprintf("%s%d", tableName, i); i == 0 {
				p.Table = tableName
			}
			if err := sim.CreateTable(database, p.Table); err != nil {
				t.Fatal(err)
			}
			for left := bytes; left > 0; left -= 512 << 10 {
				noise := make([]byte, min(left, 512<<10)/2)
				rand.Read(noise)
				rec := fmt.Sprintf(`{"text":"%x"}`, noise)
				if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: p, Data: []byte(rec)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		drain(t, s, time.Minute)
	}
	if n := s.Stats().SettledBatches.Ingested; n != int64(tables*batches) {
		t.Fatalf("%d batches of %d", n, tables*batches)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return transactions(t, dir)
}

// A batch by the queue is five transactions of the ledger: it is sealed, it has
// begun and is about to be uploaded, it is about to be enqueued, it is accepted,
// and it has its outcome. Each is an intent before an effect, or its result.
func TestABatchIsFiveTransactions(t *testing.T) {
	const more = 4
	for _, size := range []int{100, 4 << 20} {
		one, many := delivered(t, 1, 1, size), delivered(t, 1, 1+more, size)
		t.Logf("batches of %d bytes: %d transactions with 1 batch, %d with %d", size, one, many, 1+more)
		if many-one != 5*more {
			t.Errorf("%d batches more are %d transactions more, want %d", more, many-one, 5*more)
		}
	}
}

// What happens to batches of many lanes at the same time shares transactions.
func TestManyLanesShareTransactions(t *testing.T) {
	const lanes = 40
	alone, together := delivered(t, 1, 1, 100), delivered(t, lanes, 1, 100)
	// A lane itself is a transaction of its own when it is first used.
	n := together - alone - (lanes - 1)
	t.Logf("%d batches more are %d transactions more", lanes-1, n)
	if n > 5*(lanes-1)/2 {
		t.Errorf("%d batches more are %d transactions more: hardly shared", lanes-1, n)
	}
}
