package nodeclient

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kustospool/internal/testutil/npm"
)

//go:embed npm
var files embed.FS

// runTimeout bounds one run of the client.
const runTimeout = 2 * time.Minute

// The ways of ingestion.
const (
	Queued    = "queued"
	Streaming = "streaming"
	Managed   = "managed" // by streaming, and by queue where that does not go
)

// Task is what the client is to do.
type Task struct {
	Endpoint string `json:"endpoint"`         // data management's
	Engine   string `json:"engine,omitempty"` // empty: the same
	Token    string `json:"token"`
	Database string `json:"database"`
	// CA is a certificate to trust, as PEM; nil for none.
	CA []byte `json:"-"`
	// Items are ingested in turn, those with InTable at once. Then the report
	// queues are read until each item that is reported there has its report.
	Items []Item `json:"items"`
}

// Item is one ingestion.
type Item struct {
	Table   string `json:"table"`
	Format  string `json:"format"`            // csv, json, multijson
	Way     string `json:"way,omitempty"`     // empty: Queued
	File    string `json:"file,omitempty"`    // a path
	Data    string `json:"data,omitempty"`    // or the bytes, as a stream
	Blob    string `json:"blob,omitempty"`    // or a blob's URI, with its SAS
	Mapping string `json:"mapping,omitempty"` // a mapping reference
	// InTable has the outcome written to the status table, where the client
	// reads it, and not to the report queues. It is for what goes by the queue,
	// and wants https.
	InTable bool `json:"inTable,omitempty"`
}

// Outcome is what the client says of an item: an error, or a status. What goes
// by the queue is Queued, unless it was waited for in the status table.
type Outcome struct {
	Error         string
	Status        string
	ErrorCode     string
	FailureStatus string
}

// Report is what the client read from a report queue.
type Report struct {
	Queue         string // success or failure
	Database      string
	Table         string
	SourceID      string
	Path          string // of the blob
	ErrorCode     string
	FailureStatus string
}

// Result is what became of a task: an outcome for each item, and the reports in
// the order of their arrival.
type Result struct {
	Outcomes []Outcome
	Reports  []Report
}

// Run has the client do a task.
func Run(t testing.TB, task Task) Result {
	t.Helper()
	node, dir, err := installed()
	var missing *npm.MissingError
	switch {
	case err == nil:
	case errors.As(err, &missing) && !npm.Required("REQUIRE_NODECLIENT"):
		t.Skipf("no Node client: %v", err)
	default:
		t.Fatalf("the Node client: %v", err)
	}
	in, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "ingest.mjs")
	cmd.Dir = dir
	// The caller's proxy would be asked for loopback as well.
	cmd.Env = append(os.Environ(), "HTTP_PROXY=", "HTTPS_PROXY=", "http_proxy=", "https_proxy=", "ALL_PROXY=", "all_proxy=", "NO_PROXY=*", "AZURE_LOG_LEVEL=")
	if task.CA != nil {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, task.CA, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+ca)
	}
	cmd.Stdin = bytes.NewReader(in)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		t.Fatalf("the Node client: %v\n%s%s", err, words.Bytes(), out.Bytes())
	}
	var result Result
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatalf("the Node client says %q: %v", out.Bytes(), err)
	}
	if len(result.Outcomes) != len(task.Items) {
		t.Fatalf("the Node client tells %d outcomes of %d items", len(result.Outcomes), len(task.Items))
	}
	return result
}

func installed() (node, dir string, err error) {
	if node, err = exec.LookPath("node"); err != nil {
		return "", "", &npm.MissingError{Err: err}
	}
	root, err := fs.Sub(files, "npm")
	if err != nil {
		return "", "", err
	}
	p := npm.Package{Name: "nodeclient", Files: root, CacheEnv: "NODECLIENT_CACHE"}
	dir, err = p.Install()
	return node, dir, err
}
