package e2e_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
)

// TestSecretsStayOut runs through failures of every part, which is when
// requests get into errors, logs and the ledger, and then looks for signatures
// and tokens in every file of the spool, in the log, and in what Status says.
func TestSecretsStayOut(t *testing.T) {
	sim := startSim(t, nil)
	for _, h := range []kustosim.Host{kustosim.Blob, kustosim.Queue, kustosim.Table} {
		sim.Fault(h, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Times: 4})
		sim.Fault(h, kustosim.Fault{Kind: kustosim.Down, Every: 3, Times: 5})
		sim.Fault(h, kustosim.Fault{Kind: kustosim.DropReply, Every: 4, Times: 5})
	}
	sim.IngestFault(database, tableName, kustosim.IngestFault{Kind: kustosim.FailPermanent, Times: 1})
	dir := t.TempDir()
	var log lockedBuffer
	o := quick()
	o.Batch.MaxBytes = 4 << 10
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := mustOpen(t, dir, sim.Endpoint(), o)
	var books ledger.Ledger
	ingestConcurrently(t, s, &books, 4, 60)
	drain(t, s, time.Minute)
	st := s.Stats()
	if st.Attempts <= st.BatchesIngested+st.BatchesSkipped+st.BatchesDeadLettered {
		t.Error("nothing failed, so nothing was tested")
	}
	if log.Len() == 0 {
		t.Error("nothing was logged, so nothing was tested")
	}

	// What all of the simulator's identity tokens begin with.
	token, _, _ := strings.Cut(sim.IssueToken(), "identity-")
	token += "identity-"
	secrets := [][]byte{[]byte("sig="), []byte("sig%3D"), []byte("Bearer "), []byte(token)}
	searchFiles(t, dir, secrets)
	search(t, "the log", log.Bytes(), secrets)
	for seq := uint64(1); seq <= uint64(st.Acked); seq++ {
		if status, err := s.Status(t.Context(), ingest.NewID(s.ID(), 1, seq)); err == nil && status.Failure != nil {
			search(t, "a status", []byte(status.Failure.String()), secrets)
		}
	}
	// Control: the search finds what it looks for.
	found := false
	for _, secret := range secrets {
		found = found || bytes.Contains([]byte("https://x/c?sv=1&sig=abc"), secret)
	}
	if !found {
		t.Error("the search finds no signature")
	}
}

// search complains of each secret that is in some data.
func search(t testing.TB, where string, data []byte, secrets [][]byte) {
	t.Helper()
	for _, secret := range secrets {
		if i := bytes.Index(data, secret); i >= 0 {
			t.Errorf("%s holds %q: %.120q", where, secret, data[max(i-40, 0):])
		}
	}
}

// searchFiles is search in every file of a directory.
func searchFiles(t testing.TB, dir string, secrets [][]byte) {
	t.Helper()
	eachFile(t, dir, func(path string, data []byte) { search(t, path, data, secrets) })
}

// eachFile reads every file of a directory.
func eachFile(t testing.TB, dir string, look func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a log's target; many goroutines write to it.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Len()
}

func (b *lockedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
