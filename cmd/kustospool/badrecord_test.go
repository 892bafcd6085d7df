package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/records"
)

// readDeadLetters are the payloads and reasons of a spool's dead letters.
func readDeadLetters(t *testing.T, spool string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	documents, err := filepath.Glob(filepath.Join(spool, "dead", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range documents {
		if strings.Contains(filepath.Base(path), ".data") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Payload string
			Failure struct{ Message string }
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		payload, err := os.ReadFile(filepath.Join(spool, "dead", doc.Payload))
		if err != nil {
			t.Fatal(err)
		}
		found[string(payload)] += doc.Failure.Message
	}
	return found
}

// What is no record costs itself: through a pipe, a file and an archive, by
// each policy, under a service that passes over such lines without a word.
func TestSend_OnBadRecord(t *testing.T) {
	const in = "{\"n\":1}\n{\"n\":2,\"torn\n\n[{\"n\":3}]\n{\"n\":4}\n12\n{\"n\":5}"
	good := []string{`{"n":1}`, `{"n":4}`, `{"n":5}`}
	dir := t.TempDir()
	file, archive := filepath.Join(dir, "a.json"), filepath.Join(dir, "a.json.zip")
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, err := z.Create("m.json")
	if err == nil {
		_, err = w.Write([]byte(in))
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(archive, zipped.Bytes(), 0o600)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(in), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct{ name, arg, stdin, place, stops string }{
		{"pipe", "-", in, "-", "dead-letter"},
		{"file", file, "", file, "stop"},
		{"archive", archive, "", archive + "/m.json", "stop"},
	} {
		for _, policy := range []string{"", "stop", "skip", "dead-letter"} {
			t.Run(way.name+" "+policy, func(t *testing.T) {
				sim := simulator(t, &kustosim.Options{AutoCreate: true})
				spool := filepath.Join(t.TempDir(), "s")
				args := []string{"send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--json", "-q", way.arg}
				effective := policy
				if policy == "" {
					effective = way.stops
				} else {
					args = append(args, "--on-bad-record", policy)
				}
				got := kustospool(t, way.stdin, args...)
				var rows []string
				for _, row := range sim.Rows("D", "T") {
					rows = append(rows, string(row))
				}
				dead := readDeadLetters(t, spool)
				if effective == "stop" {
					code := exitUsage
					if way.stdin != "" {
						code = exitPart // a pipe is not read beforehand
					}
					if got.code != code || !strings.Contains(got.stderr, way.place+":2: ") || len(dead) > 0 || way.stdin == "" && len(rows) > 0 {
						t.Errorf("%+v, rows %q, dead %q", got, rows, dead)
					}
					return
				}
				r := decode[report](t, got.out)
				if !slices.Equal(rows, good) {
					t.Errorf("rows %q, want %q", rows, good)
				}
				if effective == "skip" {
					if got.code != exitOK || r.Read != 3 || r.Acked != 3 || r.BadSkipped != 3 || r.Blank != 1 || len(dead) > 0 {
						t.Errorf("%+v, dead %q", got, dead)
					}
					return
				}
				if got.code != exitFailed || r.Read != 6 || r.Acked != 6 || r.Ingested != 3 || r.DeadLettered != 3 || r.BadDead != 3 || r.Blank != 1 || r.Spooled != 0 {
					t.Errorf("%+v", got)
				}
				for data, want := range map[string]string{
					`{"n":2,"torn`: ":2: a json record must be one JSON object, and this one is torn or malformed",
					`[{"n":3}]`:    ":4: a json record must be one JSON object, and not an array; ",
					`12`:           ":6: a json record must be one JSON object",
				} {
					if !strings.HasPrefix(dead[data], way.place+want) {
						t.Errorf("the reason of %s is %q, want %q", data, dead[data], way.place+want)
					}
				}
				if len(dead) != 3 || !strings.Contains(dead[`[{"n":3}]`], "format multijson") {
					t.Errorf("dead %q", dead)
				}
			})
		}
	}
}

// The ways that once lost or doubled rows, each with what is right.
func TestSend_CasesOfInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.json", "{\"a\":1}\n")
	zipOf := func(name, member, data string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create(member)
		if err == nil {
			_, err = w.Write([]byte(data))
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return write(name, b.String())
	}
	damaged := []byte(mustRead(t, zipOf("damaged.json.zip", "a.json", "{\"a\":\"some text to be damaged\"}\n")))
	damaged[len(damaged)/3] ^= 0xff
	write("damaged.json.zip", string(damaged))
	tabs := "a\tb\tc\n\t\t\nd\te\tf\n"
	for _, tc := range []struct {
		name  string
		args  []string
		rows  []string // nil: refused, with nothing stored
		error string
	}{
		{"an array on one line", []string{good, write("array.json", "[{\"a\":2},{\"a\":3}]\n")}, nil, "multijson"},
		{"an indented document", []string{good, write("pretty.json", "{\n  \"a\": 2\n}\n")}, nil, "multijson"},
		{"an indented document in an archive", []string{good, zipOf("pretty.json.zip", "p.json", "{\n  \"a\": 2\n}\n")}, nil, "p.json:1: a json record is one line"},
		{"a torn line", []string{good, write("torn.json", "{\"a\":2}\n{\"a\":")}, nil, "torn.json:2: a json record must be one JSON object, and this one is torn"},
		{"a row of tabs", []string{write("tabs.tsv", tabs)}, []string{`{"c0":"a","c1":"b","c2":"c"}`, `{"c0":"","c1":"","c2":""}`, `{"c0":"d","c1":"e","c2":"f"}`}, ""},
		{"a row of tabs in an archive", []string{zipOf("tabs.tsv.zip", "tabs.tsv", tabs)}, []string{`{"c0":"a","c1":"b","c2":"c"}`, `{"c0":"","c1":"","c2":""}`, `{"c0":"d","c1":"e","c2":"f"}`}, ""},
		{"a blank line before the header", []string{"--skip-header", write("blank.csv", "\nid,name\n1,a\n")}, []string{`{"c0":"1","c1":"a"}`}, ""},
		{"a quote that is not the field's first", []string{write("inch.csv", "1,5\" pipe\n2,6\" pipe\n")}, []string{`{"c0":"1","c1":"5\" pipe"}`, `{"c0":"2","c1":"6\" pipe"}`}, ""},
		{"a quote that never closes", []string{good, write("open.csv", "0,ok\n1,\"abc\n2,x\n")}, nil, "open.csv:2: a double quote is opened and never closed"},
		{"a damaged archive behind a good file", []string{good, filepath.Join(dir, "damaged.json.zip")}, nil, "damaged.json.zip/a.json: "},
		{"an archive of nothing behind a good file", []string{good, zipOf("empty.json.zip", "a.json", "")}, nil, "holds no record"},
		{"json in a .log", []string{write("app.log", "{\"a\":1}\n{\"a\":2}\n")}, nil, "give --format json"},
		{"text in a .log", []string{write("text.log", "starting\n")}, nil, "give --format txt"},
		{"json in a .log, said so", []string{"--format", "jsonl", filepath.Join(dir, "app.log")}, []string{`{"a":1}`, `{"a":2}`}, ""},
		{"parquet in a .json", []string{write("p.json", "PAR1\x15\x00")}, nil, "give --format parquet"},
		{"gzip in a .json", []string{write("g.json", "\x1f\x8b\x08\x00")}, nil, "give --gzip"},
		{"utf-16", []string{write("u.csv", "\xff\xfea\x00,\x00b\x00\n\x00")}, nil, "is UTF-16"},
		{"utf-16 without a mark", []string{write("v.csv", "a\x00,\x00b\x00\n\x00")}, nil, "is UTF-16"},
		{"joined files with marks", []string{write("marks.csv", "\xef\xbb\xbfa,1\n\xef\xbb\xbfb,2\n")}, []string{`{"c0":"a","c1":"1"}`, `{"c0":"b","c1":"2"}`}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sim := simulator(t, &kustosim.Options{AutoCreate: true})
			spool := filepath.Join(t.TempDir(), "s")
			got := kustospool(t, "", append([]string{"send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--json", "-q"}, tc.args...)...)
			var rows []string
			for _, row := range sim.Rows("D", "T") {
				rows = append(rows, string(row))
			}
			if tc.rows == nil {
				if got.code != exitUsage || !strings.Contains(got.stderr, tc.error) || len(rows) > 0 {
					t.Errorf("%+v, rows %q, want %q", got, rows, tc.error)
				}
				if _, err := os.Stat(filepath.Join(spool, "manifest.db")); err == nil {
					t.Error("a spool was made")
				}
				return
			}
			if r := decode[report](t, got.out); got.code != exitOK || !slices.Equal(rows, tc.rows) || r.Ingested != int64(len(tc.rows)) {
				t.Errorf("%+v, rows %q, want %q", got, rows, tc.rows)
			}
		})
	}
}

// A mapping's file may have a mark, and a date is a creation time.
func TestSend_MappingWithAMark(t *testing.T) {
	dir := t.TempDir()
	mapping, in := filepath.Join(dir, "m.json"), filepath.Join(dir, "a.json")
	for path, data := range map[string]string{mapping: "\xef\xbb\xbf[{\"column\":\"x\",\"Properties\":{\"Path\":\"$.a\"}}]", in: "{\"a\":1}\n"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows := filepath.Join(dir, "rows")
	got := kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--json", "-q", "--mapping", "@"+mapping, "--creation-time", "2017-02-13", "--rows-out", rows, in)
	if text := mustRead(t, rows); got.code != exitOK || fmt.Sprint(text) != "{\"x\":1}\n" {
		t.Errorf("%+v, rows %q", got, text)
	}
	if err := os.WriteFile(mapping, []byte("\xff\xfe[\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--mapping", "@"+mapping, in)
	if got.code != exitUsage || !strings.Contains(got.stderr, "is UTF-16; a mapping is JSON in UTF-8") {
		t.Errorf("%+v", got)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The command cuts as the library and the simulator's parser do: as a file, gzip
// data, an archive and a pipe the same text is the same rows.
func TestSend_RecordsByEveryWay(t *testing.T) {
	const chunk = 50_000
	count, seed := records.Count(t)
	for _, format := range []ingest.Format{ingest.CSV, ingest.JSON} {
		source := records.New(seed)
		for first := 0; first < count/2; first += chunk {
			text, recs := source.Text(string(format), first, min(chunk, count/2-first))
			parsed, err := kustosim.Parse([]byte(text), format)
			if err != nil || len(parsed) != len(recs) {
				t.Fatalf("%s: %d rows of %d records, %v", format, len(parsed), len(recs), err)
			}
			var want []string
			for _, row := range parsed {
				var compact bytes.Buffer // as --rows-out writes it
				if err := json.Compact(&compact, row); err != nil {
					t.Fatal(err)
				}
				want = append(want, compact.String())
			}
			slices.Sort(want)
			dir := t.TempDir()
			var gzipped, zipped bytes.Buffer
			g, z := gzip.NewWriter(&gzipped), zip.NewWriter(&zipped)
			w, err := z.Create("sub/a." + string(format))
			if err == nil {
				_, err = w.Write([]byte(text))
			}
			if _, gzErr := g.Write([]byte(text)); err != nil || gzErr != nil || g.Close() != nil || z.Close() != nil {
				t.Fatal(err, gzErr)
			}
			for name, data := range map[string][]byte{"a": []byte(text), "a.gz": gzipped.Bytes(), "a.zip": zipped.Bytes(), "-": nil} {
				in, stdin := name, text
				if name != "-" {
					in, stdin = filepath.Join(dir, name), ""
					if err := os.WriteFile(in, data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				rows := filepath.Join(dir, "rows")
				got := kustospool(t, stdin, "send", "--to", "sim:", "--database", "D", "--table", "T", "--json", "-q", "--format", string(format), "--rows-out", rows, in)
				arrived := strings.Split(strings.TrimSuffix(mustRead(t, rows), "\n"), "\n")
				slices.Sort(arrived)
				if r := decode[report](t, got.out); got.code != exitOK || r.Read != int64(len(recs)) || r.BadSkipped+r.BadDead != 0 || !slices.Equal(arrived, want) {
					t.Errorf("%s as %s: %+v, %d rows of %d", format, name, got, len(arrived), len(want))
				}
			}
		}
	}
}
