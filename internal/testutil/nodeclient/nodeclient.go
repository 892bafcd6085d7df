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
	"testing"
	"time"

	"kustospool/internal/testutil/npm"
)

//go:embed npm
var files embed.FS

// runTimeout bounds one run of the client.
const runTimeout = 2 * time.Minute

// Task is what the client is to do.
type Task struct {
	Endpoint string `json:"endpoint"`
	Token    string `json:"token"`
	Database string `json:"database"`
	// Items are ingested in turn, then the report queues are read until each
	// has its report.
	Items []Item `json:"items"`
}

// Item is one ingestion.
type Item struct {
	Table   string `json:"table"`
	Format  string `json:"format"`            // csv, json, multijson
	File    string `json:"file,omitempty"`    // a path
	Data    string `json:"data,omitempty"`    // or the bytes, as a stream
	Blob    string `json:"blob,omitempty"`    // or a blob's URI, with its SAS
	Mapping string `json:"mapping,omitempty"` // a mapping reference
	// Streaming sends Data by streaming ingestion, which is not reported.
	Streaming bool `json:"streaming,omitempty"`
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

// Run has the client do a task and returns the reports in the order of their
// arrival.
func Run(t testing.TB, task Task) []Report {
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
	cmd.Stdin = bytes.NewReader(in)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		t.Fatalf("the Node client: %v\n%s%s", err, words.Bytes(), out.Bytes())
	}
	var reports []Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil {
		t.Fatalf("the Node client says %q: %v", out.Bytes(), err)
	}
	return reports
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
