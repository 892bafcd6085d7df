package dir_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/dir"
	"kustospool/transport/transporttest"
)

var events = ingest.Properties{Database: "db", Table: "Events", Format: ingest.JSON, Tags: []string{"drop-by:x"}}

func batchOf(p ingest.Properties, records ...string) (*ingest.Batch, []byte) {
	data := transporttest.Join(records)
	n := uint64(len(records))
	return &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{7}, 3, 1, n), Lane: 3, First: 1, Last: n, Properties: p,
		Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested, RawBytes: int64(len(data)),
		SealedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, data
}

func open(t testing.TB, root string, options *dir.ClientOptions) *dir.Client {
	t.Helper()
	c, err := dir.NewClient(root, options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c *dir.Client, b *ingest.Batch, data []byte) (transport.Ack, error) {
	t.Helper()
	return c.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(data), Journal: &transporttest.Journal{}})
}

// payloads finds every payload under root through its description, and so
// checks that there is one.
func payloads(t testing.TB, root string, p ingest.Properties) (found [][]byte) {
	t.Helper()
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Dir(path) == root || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(path, ".properties.json") {
			return nil
		}
		stem, _, _ := strings.Cut(e.Name(), ".")
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), stem+".properties.json"))
		if err != nil {
			t.Errorf("a payload without properties: %v", err)
			return nil
		}
		var d dir.Description
		if err := json.Unmarshal(raw, &d); err != nil || d.File != e.Name() {
			t.Errorf("%s describes %q: %v", raw, d.File, err)
		}
		if d.Properties.Database != p.Database || d.Properties.Table != p.Table {
			return nil
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".gz") {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
				data, err = io.ReadAll(z)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		found = append(found, data)
		return nil
	})
	return found
}

func TestConformance(t *testing.T) {
	for name, options := range map[string]*dir.ClientOptions{"plain": nil, "gzip": {Compress: true}} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Harness{LargeBytes: 1 << 20, New: func(t *testing.T) *transporttest.Target {
				root := filepath.Join(t.TempDir(), "export")
				c := open(t, root, options)
				away := root + "-away"
				return &transporttest.Target{
					Transport: c,
					Rows: func(t testing.TB, p ingest.Properties) (rows []string) {
						for _, data := range payloads(t, root, p) {
							rows = append(rows, transporttest.Split(p, data)...)
						}
						return rows
					},
					Down: func(t testing.TB, down bool) {
						from, to := root, away
						if !down {
							from, to = away, root
						}
						if err := os.Rename(from, to); err != nil {
							t.Fatal(err)
						}
					},
					LoseReply: func(testing.TB) { c.BreakPublishedSyncForTesting(errors.New("input/output error")) },
					Refuse: map[transport.Class]func(testing.TB){transport.Held: func(t testing.TB) {
						if err := os.WriteFile(filepath.Join(root, "Telemetry"), nil, 0o600); err != nil {
							t.Fatal(err)
						}
					}},
				}
			}})
		})
	}
}

func TestLayout(t *testing.T) {
	root := t.TempDir()
	b, data := batchOf(events, `{"a":1}`, `{"a":2}`)
	if ack, err := send(t, open(t, root, nil), b, data); err != nil || ack.State != ingest.Succeeded || ack.WireBytes != int64(len(data)) {
		t.Fatal(ack, err)
	}
	base := filepath.Join(root, "db", "Events", "00000003-0000000000000001-"+b.ID.String())
	if got, err := os.ReadFile(base + ".json"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("payload %q, %v", got, err)
	}
	raw, err := os.ReadFile(base + ".properties.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dir.Description
	if err := json.Unmarshal(raw, &d); err != nil || d.Batch != b.ID || d.IngestBy != b.ID.String() || d.Last != 2 ||
		d.RawBytes != b.RawBytes || d.Properties.Key() != events.Key() || !d.SealedAt.Equal(b.SealedAt) || d.Guarantee != "exactly-once" {
		t.Errorf("description %s: %v", raw, err)
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{base + ".json": 0o600, base + ".properties.json": 0o600, filepath.Dir(base): 0o700 | fs.ModeDir} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
		}
	}
	entries, _ := os.ReadDir(filepath.Dir(base))
	if len(entries) != 2 {
		t.Errorf("the directory holds %v", entries)
	}
}

// A batch that arrived plain is not written again when compression is turned on.
func TestRepeatUnderOtherOptions(t *testing.T) {
	root := t.TempDir()
	b, data := batchOf(events, `{"a":1}`)
	for i, compress := range []bool{false, true, false} {
		ack, err := send(t, open(t, root, &dir.ClientOptions{Compress: compress}), b, data)
		if want := map[bool]ingest.State{true: ingest.Succeeded, false: ingest.Skipped}[i == 0]; err != nil || ack.State != want {
			t.Errorf("attempt %d: %v %v, want %v", i, ack, err, want)
		}
	}
	if n := len(payloads(t, root, events)); n != 1 {
		t.Errorf("%d payloads", n)
	}
}

func TestNothingHalfWrittenStays(t *testing.T) {
	root := t.TempDir()
	c := open(t, root, nil)
	b, data := batchOf(events, `{"a":1}`)
	table := filepath.Join(root, "db", "Events")
	making := func() (names []string) {
		entries, _ := os.ReadDir(table)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".making-") {
				names = append(names, e.Name())
			}
		}
		return names
	}
	damaged := errors.New("damaged")
	_, err := c.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 1, Journal: &transporttest.Journal{},
		Payload: &transporttest.Payload{Data: data, FailAt: 3, Err: damaged}})
	if !errors.Is(err, damaged) || len(making()) != 0 {
		t.Errorf("after a read error: %v, left %q", err, making())
	}

	// As after a crash: an old one, a new one, and the batch's own.
	leave := func(name string, age time.Duration) {
		path := filepath.Join(table, name)
		if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	own := ".making-00000003-0000000000000001-" + b.ID.String() + ".json"
	leave(".making-old", 2*time.Hour)
	leave(".making-new", time.Minute)
	leave(own, time.Minute)
	c = open(t, root, nil)
	if _, err := send(t, c, b, data); err != nil {
		t.Fatal(err)
	}
	if got := making(); len(got) != 1 || got[0] != ".making-new" {
		t.Errorf("left %q, want only another's new one", got)
	}
	if got := payloads(t, root, events); len(got) != 1 || !bytes.Equal(got[0], data) {
		t.Errorf("payloads %q", got)
	}
}

func TestClasses(t *testing.T) {
	tests := []struct {
		name  string
		wreck func(t *testing.T, root string)
		want  transport.Class
	}{
		{"root gone", func(t *testing.T, root string) { remove(t, root) }, transport.Transient},
		{"root is a file", func(t *testing.T, root string) { remove(t, root); touch(t, root) }, transport.Transient},
		{"database is a file", func(t *testing.T, root string) { touch(t, filepath.Join(root, "db")) }, transport.Held},
		{"root read-only", func(t *testing.T, root string) { readOnly(t, root) }, transport.Unauthorized},
		{"table read-only", func(t *testing.T, root string) {
			for _, d := range []string{filepath.Join(root, "db"), filepath.Join(root, "db", "Events")} {
				if err := os.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			readOnly(t, filepath.Join(root, "db", "Events"))
		}, transport.Held},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			c := open(t, root, nil)
			tt.wreck(t, root)
			b, data := batchOf(events, "{}")
			_, err := send(t, c, b, data)
			var e *transport.Error
			if !errors.As(err, &e) || e.Class != tt.want {
				t.Errorf("%v, want class %v", err, tt.want)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, path string) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readOnly(t *testing.T, path string) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("permissions do not bind this user")
	}
	if err := os.Chmod(path, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
}

func TestNewClientErrors(t *testing.T) {
	if _, err := dir.NewClient("", nil); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("empty path: %v", err)
	}
	if _, err := dir.NewClient(filepath.Join(t.TempDir(), "no", "parent"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no parent: %v", err)
	}
}
