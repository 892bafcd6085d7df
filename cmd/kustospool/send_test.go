package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/operate"
	"kustospool/transport"
)

// decode reads the one JSON object that a command printed.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	var v T
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("more than one object in %q", text)
	}
	return v
}

// temporaryDir gives the test a directory for temporary spools of its own.
func temporaryDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	return dir
}

// simulator starts a simulator of the test's own.
func simulator(t *testing.T, opts *kustosim.Options) *kustosim.Sim {
	t.Helper()
	sim, err := kustosim.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

func rowsOf(sim *kustosim.Sim, db, table string) string {
	var b strings.Builder
	for _, row := range sim.Rows(db, table) {
		fmt.Fprintln(&b, row)
	}
	return b.String()
}

// TestSend_LargeObject sends an object that is larger than any record, as a
// file and through a pipe.
func TestSend_LargeObject(t *testing.T) {
	temporaryDir(t)
	object := strings.Repeat("PAR1\n\x00\xff.", 9<<20) // 72 MiB
	file := write(t, "large.parquet", object)
	for _, stdin := range []string{"", object} {
		export := t.TempDir()
		args := []string{"send", "--to", "dir:" + export, "--spool", filepath.Join(t.TempDir(), "spool"), "--database", "D", "--table", "T", "--json"}
		if stdin == "" {
			args = append(args, file)
		} else {
			args = append(args, "--format", "parquet", "-")
		}
		got := kustospool(t, stdin, args...)
		if got.code != exitOK {
			t.Fatalf("code %d: %s", got.code, got.stderr)
		}
		if r := decode[report](t, got.out); r.Read != 1 || r.Ingested != 1 || r.RawBytes != int64(len(object)) {
			t.Errorf("%+v", r)
		}
		files, err := filepath.Glob(filepath.Join(export, "D", "T", "*.parquet"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		if data, err := os.ReadFile(files[0]); err != nil || string(data) != object {
			t.Errorf("other bytes: %d, %v", len(data), err)
		}
	}
}

func TestSend_ExampleFileArrivesByteForByte(t *testing.T) {
	temporary := temporaryDir(t)
	example := filepath.Join("..", "..", "testdata", "telemetry.jsonl")
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	got := kustospool(t, "", "send", "--to", "sim:", "--database", "Demo", "--table", "Telemetry", "--json", "--rows-out", rows, example)
	if got.code != exitOK {
		t.Fatalf("code %d: %s", got.code, got.stderr)
	}
	r := decode[report](t, got.out)
	if r.Read < 50_000 || r.Acked != r.Read || r.Ingested != r.Read || r.DeadLettered != 0 || r.Spooled != 0 ||
		r.Batches < 1 || r.CompressedBytes <= 0 || r.CompressedBytes >= r.RawBytes || r.PossibleDuplicates != 0 || r.Seconds <= 0 {
		t.Errorf("report %+v", r)
	}
	sent, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	arrived, err := os.ReadFile(rows)
	if err != nil {
		t.Fatal(err)
	}
	if r.RawBytes != int64(len(sent)) || !bytes.Equal(sent, arrived) {
		t.Errorf("sent %d bytes, reported %d, %d arrived", len(sent), r.RawBytes, len(arrived))
	}
	if left, _ := filepath.Glob(filepath.Join(temporary, "kustospool-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSend_StandardInputToStandardOutput(t *testing.T) {
	in := "{\"a\":\"é\\n\",\"n\":9007199254740993}\n\n{\"b\":[null]}"
	got := kustospool(t, in, "send", "--to", "sim:", "--database", "D b", "--table", "Tä", "--rows-out", "-", "-")
	if got.code != exitOK || got.out != strings.ReplaceAll(in, "\n\n", "\n")+"\n" {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{"records read 2", "blank lines 1 passed over", "ingested 2"} {
		if !strings.Contains(squeeze(got.stderr), want) {
			t.Errorf("the report has no %q: %s", want, got.stderr)
		}
	}
}

// Each protocol brings the same rows. The simulator of another process shows
// which one was taken.
func TestSend_Protocols(t *testing.T) {
	for protocol, rest := range map[string]int64{"auto": 0, "queue": 0, "rest": 1} {
		sim, err := kustosim.Start(&kustosim.Options{AutoCreate: true})
		if err != nil {
			t.Fatal(err)
		}
		got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T",
			"--protocol", protocol, "--spool", filepath.Join(t.TempDir(), "s"), "-")
		if s := sim.Stats(); got.code != exitOK || sim.Count("D", "T") != 1 || s.RequestsQueued != rest || s.MessagesPosted != 1-rest {
			t.Errorf("%s: %+v, %+v", protocol, got, s)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}
}

// zipOf is an archive of files.
func zipOf(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, text := range files {
		w, err := z.Create(fmt.Sprintf("sub/%d", i))
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An archive is its files, whatever their format, and one that is damaged is
// refused with nothing stored.
func TestSend_Archives(t *testing.T) {
	temporaryDir(t)
	archive := func(files ...string) string { return zipOf(t, files...) }
	good := archive("{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}")
	got := kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--rows-out", "-", write(t, "a.json.zip", good), write(t, "b.json", "{\"b\":1}\n"))
	if got.code != exitOK || got.out != "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"b\":1}\n" {
		t.Errorf("%+v", got)
	}
	got = kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--json", write(t, "a.json.zip", good))
	if r := decode[report](t, got.out); got.code != exitOK || r.Read != 3 || r.Ingested != 3 {
		t.Errorf("%+v", got)
	}
	for name, args := range map[string][]string{
		"is not a zip archive":            {write(t, "bad.json.zip", good[:len(good)/2])},
		"empty.json.zip: holds no record": {write(t, "empty.json.zip", archive())},
		"header":                          {write(t, "h.csv.zip", archive("h\n1\n")), "--skip-header"},
		"blank.json.zip: holds no record": {write(t, "blank.json.zip", archive("\n"))},
	} {
		spool := filepath.Join(t.TempDir(), "spool")
		got := kustospool(t, "", append([]string{"send", "--to", "sim:", "--spool", spool, "--database", "D", "--table", "T"}, args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, name) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Each source of outcomes tells that the rows are in.
func TestSend_Outcomes(t *testing.T) {
	for outcomes, rows := range map[string]int64{"table": 1, "peek": 0, "take": 0} {
		sim := simulator(t, &kustosim.Options{AutoCreate: true})
		got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T",
			"--outcomes", outcomes, "--spool", filepath.Join(t.TempDir(), "s"), "-")
		if s := sim.Stats(); got.code != exitOK || sim.Count("D", "T") != 1 || s.EntitiesInserted != rows {
			t.Errorf("%s: %+v, %+v", outcomes, got, s)
		}
	}
}

// Each mode brings the same rows.
func TestSend_Modes(t *testing.T) {
	for mode, guarantee := range map[string]string{"queued": "exactly-once", "direct": "exactly-once", "streaming": "at-least-once", "managed": "at-least-once"} {
		sim, err := kustosim.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(sim.CreateTable("D", "T"), sim.SetStreaming("D", "T", true)); err != nil {
			t.Fatal(err)
		}
		got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T",
			"--mode", mode, "--guarantee", guarantee, "--spool", filepath.Join(t.TempDir(), "s"), "--json", "-")
		s := sim.Stats()
		streamed := mode == "streaming" || mode == "managed"
		if got.code != exitOK || sim.Count("D", "T") != 1 || (s.MessagesPosted == 1) != (mode == "queued") || (s.Streamed == 1) != streamed {
			t.Errorf("%s: %+v, %+v", mode, got, s)
		}
		if f := decode[report](t, got.out).Transport; (f["direct.capacity_total"] == kustosim.DefaultCapacity) != (mode == "direct") || (f["managed.streamed"] == 1) != (mode == "managed") {
			t.Errorf("%s: figures %v", mode, f)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A stream keeps no exactly-once, and the command says what to give.
func TestSend_StreamingIsAtLeastOnce(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "s")
	got := kustospool(t, "{\"a\":1}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--mode", "streaming", "--spool", spool, "-")
	if _, err := os.Stat(spool); got.code != exitUsage || !strings.Contains(got.stderr, "--guarantee at-least-once") || !os.IsNotExist(err) {
		t.Errorf("%+v; the spool: %v", got, err)
	}
}

// A run in one mode leaves a batch that may have been ingested; the next one, in
// another mode, settles it in the first one's and doubles nothing.
func TestDrain_InAnotherMode(t *testing.T) {
	sim := simulator(t, nil)
	if err := sim.CreateTable("D", "T"); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "s")
	to := []string{"--to", sim.Endpoint(), "--spool", spool, "--guarantee", "at-least-once"}
	quiet := sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 429, PathContains: ".show"}) // nothing can be looked up
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.DropReply, PathContains: ".ingest into"})
	got := kustospool(t, "{\"a\":1}\n", append([]string{"send", "--database", "D", "--table", "T", "--mode", "direct", "--timeout", "2s", "-"}, to...)...)
	if got.code != exitPending || sim.Count("D", "T") != 1 {
		t.Fatalf("%+v, %d rows", got, sim.Count("D", "T"))
	}
	quiet()
	got = kustospool(t, "", append([]string{"drain", "--mode", "queued"}, to...)...)
	if got.code != exitOK || sim.Count("D", "T") != 1 || sim.Stats().MessagesPosted != 0 {
		t.Errorf("%+v, %d rows, %d messages", got, sim.Count("D", "T"), sim.Stats().MessagesPosted)
	}
}

func TestSend_SeveralFormatsAndFiles(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("h1,h2\n1,\"a\nb\"\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	got := kustospool(t, "", "send", "--to", "dir:"+out, "--database", "D", "--table", "T", "--spool", filepath.Join(t.TempDir(), "s"), "--json", "--skip-header",
		write(t, "a.csv.gz", zipped.String()), write(t, "b.tsv", "x\ty\n2\tc\n"), write(t, "c.csv", "h\n3\n"))
	r := decode[report](t, got.out)
	if got.code != exitOK || r.Read != 3 || r.Ingested != 3 || r.Batches != 2 {
		t.Fatalf("got %+v, %+v", got, r)
	}
	var all []string
	err := filepath.WalkDir(out, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".properties.json") {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, string(data))
		return err
	})
	if err != nil || len(all) != 2 || !strings.Contains(strings.Join(all, "|"), "1,\"a\nb\"\n3\n") || !strings.Contains(strings.Join(all, "|"), "2\tc\n") {
		t.Errorf("files hold %q, %v", all, err)
	}
}

func TestSend_MalformedRecordIsDeadLetteredAlone(t *testing.T) {
	temporary := temporaryDir(t)
	in := "{\"n\":1}\n{\"n\":2}\n{\"n\":x}\n{\"n\":4}\n"
	rows := filepath.Join(t.TempDir(), "rows")
	got := kustospool(t, in, "send", "--to", "sim:", "--database", "D", "--table", "T", "--json", "--rows-out", rows)
	r := decode[report](t, got.out)
	if got.code != exitFailed || r.Acked != 4 || r.Ingested != 3 || r.DeadLettered != 1 || r.Spooled != 0 {
		t.Fatalf("got %+v, %+v", got, r)
	}
	arrived, err := os.ReadFile(rows)
	if err != nil || string(arrived) != "{\"n\":1}\n{\"n\":2}\n{\"n\":4}\n" {
		t.Errorf("arrived %q, %v", arrived, err)
	}
	kept, _ := filepath.Glob(filepath.Join(temporary, "kustospool-*"))
	if len(kept) != 1 || !strings.Contains(got.stderr, filepath.Join(kept[0], "dead")) {
		t.Fatalf("kept %v, stderr %s", kept, got.stderr)
	}
	st := kustospool(t, "", "status", "--spool", kept[0])
	if st.code != exitOK || !strings.Contains(squeeze(st.out), "dead-lettered 1") || !strings.Contains(st.out, "Dead letters in") {
		t.Errorf("status %+v", st)
	}
}

// TestSend_MissingTableWaits follows a mistake at the service to its end: send
// stops early, status shows the service's words, drain delivers once the table
// is there.
func TestSend_MissingTableWaits(t *testing.T) {
	sim := simulator(t, nil)
	if err := sim.CreateTable("D", "Other"); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "spool")
	in := "{\"n\":1}\n{\"n\":2}\n"
	got := kustospool(t, in, "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--json")
	r := decode[report](t, got.out)
	if got.code != exitPending || r.Acked != 2 || r.Spooled != 2 || r.Ingested != 0 {
		t.Fatalf("got %+v, %+v", got, r)
	}
	for _, want := range []string{"waits for somebody to act", "BadRequest_TableNotExist", "kustospool drain --to " + sim.Endpoint() + " --spool " + spool} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in %s", want, got.stderr)
		}
	}

	text := kustospool(t, "", "status", "--spool", spool)
	if text.code != exitOK || !strings.Contains(text.out, "BadRequest_TableNotExist") || !strings.Contains(text.out, "D.T") {
		t.Errorf("status %+v", text)
	}
	st := decode[operate.Status](t, kustospool(t, "", "status", "--spool", spool, "--json").out)
	if st.Counters.Acked != 2 || st.Counters.Sealed != 2 || len(st.Lanes) != 1 || len(st.Batches) != 1 || st.Batches[0].Attempts < 1 ||
		st.Batches[0].Failure == nil || st.Batches[0].Failure.Code != "BadRequest_TableNotExist" {
		t.Errorf("status %+v", st)
	}

	if err := sim.CreateTable("D", "T"); err != nil {
		t.Fatal(err)
	}
	got = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool, "--json")
	r = decode[report](t, got.out)
	if got.code != exitOK || r.Ingested != 2 || r.Spooled != 0 || r.Acked != 0 || rowsOf(sim, "D", "T") != in {
		t.Errorf("got %+v, rows %q", got, rowsOf(sim, "D", "T"))
	}
}

func TestSend_TimeoutThenDrain(t *testing.T) {
	sim := simulator(t, nil)
	if err := sim.CreateTable("D", "T"); err != nil {
		t.Fatal(err)
	}
	mend := sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Refuse})
	spool := filepath.Join(t.TempDir(), "spool")
	got := kustospool(t, "{}\n{}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--timeout", "300ms")
	if got.code != exitPending || !strings.Contains(got.stderr, "Not delivered within 300ms") || !strings.Contains(squeeze(got.out), "still spooled 2") {
		t.Fatalf("got %+v", got)
	}
	mend()
	got = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool)
	if got.code != exitOK || sim.Count("D", "T") != 2 {
		t.Errorf("got %+v, %d rows", got, sim.Count("D", "T"))
	}
}

func TestSend_NoWait(t *testing.T) {
	spool, out := filepath.Join(t.TempDir(), "spool"), t.TempDir()
	got := kustospool(t, "{}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool, "--no-wait", "--json")
	if r := decode[report](t, got.out); got.code != exitOK || r.Acked != 1 || r.Spooled != 1 {
		t.Fatalf("got %+v", got)
	}
	got = kustospool(t, "", "drain", "--to", "dir:"+out, "--spool", spool)
	if got.code != exitOK || !strings.Contains(squeeze(got.out), "ingested 1") {
		t.Errorf("got %+v", got)
	}
}

func TestSend_InterruptedWhileReading(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "spool")
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool, "--json"}, in, &out, &stderr)
	}()
	if _, err := io.WriteString(feed, "{}\n{}\n"); err != nil {
		t.Fatal(err)
	}
	// The reader takes this only when the record before it was handed on.
	if _, err := io.WriteString(feed, "{"); err != nil {
		t.Fatal(err)
	}
	interrupt()
	code := <-ended
	r := decode[report](t, out.String())
	want := exitPart
	if r.Acked == 0 {
		want = exitUsage // the interrupt came before the first commit
	}
	if code != want || r.Acked != r.Read || r.Spooled != r.Read || len(r.Inputs) != 1 || r.Inputs[0].Whole || r.Inputs[0].Records != r.Acked || !strings.Contains(stderr.String(), "Stopped.") {
		t.Errorf("code %d, %+v: %s", code, r, stderr.String())
	}
}

func TestSend_InterruptedWhileWaiting(t *testing.T) {
	sim := simulator(t, nil)
	defer sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Stall})()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		// The first request says that everything was spooled and sending began.
		if err := sim.Wait(ctx, func() bool { return sim.Stats().FaultsStruck > 0 }); err == nil {
			interrupt()
		}
	}()
	spool := filepath.Join(t.TempDir(), "spool")
	got := kustospoolUntil(t, ctx, "{}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--batch-records", "1", "--json")
	if r := decode[report](t, got.out); got.code != exitPending || r.Acked != 1 || r.Spooled != 1 || !strings.Contains(got.stderr, "To go on:") {
		t.Errorf("got %+v", got)
	}
}

func TestSend_BadLineInAStreamKeepsWhatCameBefore(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "spool")
	got := kustospool(t, "{}\n{\n \"a\":1}\n", "send", "--to", "http://127.0.0.1:1", "--database", "D", "--table", "T", "--spool", spool, "--json", "--on-bad-record", "stop")
	if r := decode[report](t, got.out); got.code != exitPart || r.Acked != 1 || r.Spooled != 1 ||
		!strings.Contains(got.stderr, "-:2: a json record is one line") || !strings.Contains(got.stderr, "-: 1 record stored, not all of it\n") {
		t.Errorf("got %+v", got)
	}
}

// idle is a destination that is never reached.
type idle struct{}

func (idle) Send(context.Context, *transport.Delivery) (transport.Ack, error) {
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Message: "not here"}
}

func (idle) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }

func TestSpoolInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	spool, err := engine.Open(dir, idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	owner := fmt.Sprint(os.Getpid())
	got := kustospool(t, "{}\n", "send", "--to", "sim:", "--database", "D", "--table", "T", "--spool", dir, "--lock-timeout", "0")
	if got.code != exitUsage || !strings.Contains(got.stderr, dir) || !strings.Contains(got.stderr, owner) {
		t.Errorf("send: %+v", got)
	}
	got = kustospool(t, "", "drain", "--to", "sim:", "--spool", dir, "--lock-timeout", "0")
	if got.code != exitUsage || !strings.Contains(got.stderr, owner) {
		t.Errorf("drain: %+v", got)
	}
	got = kustospool(t, "", "status", "--spool", dir)
	if got.code != exitOK || !strings.Contains(got.out, "in use") {
		t.Errorf("status: %+v", got)
	}
}

func TestStatus_ListsAreCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	spool, err := engine.Open(dir, idle{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p := ingest.Properties{Database: "D", Table: fmt.Sprintf("T%d", i), Format: ingest.JSON}
		if _, err := spool.Ingest(t.Context(), &ingest.Request{Properties: p, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := spool.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := ingest.Properties{Database: "D", Table: "T0", Format: ingest.JSON}
	if _, err := spool.Ingest(t.Context(), &ingest.Request{Properties: p, Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	st := decode[operate.Status](t, kustospool(t, "", "status", "--spool", dir, "--json", "--limit", "2").out)
	if len(st.Batches) != 2 || st.Cut["batches"] != 1 || len(st.Lanes) != 3 || st.Lanes[0].Open != 1 || st.Lanes[0].Records != 1 || st.Counters.Open != 1 {
		t.Errorf("status %+v", st)
	}
	text := kustospool(t, "", "status", "--spool", dir, "--limit", "1")
	if !strings.Contains(text.out, "and 2 more") || !strings.Contains(text.out, "1 record in no batch") {
		t.Errorf("status %s", text.out)
	}
}
