package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/cmd/bench/internal/load"
)

// Each engine must write what it is given: a peer that is driven wrongly
// would look fast.
func TestEngines_WriteWhatTheyAcknowledge(t *testing.T) {
	const producers, each, size = 4, 25, 4 << 10
	for _, e := range engines {
		if strings.HasSuffix(e.name, "-recycled") {
			continue // the engine beside it, with segments of other records around
		}
		t.Run(e.name, func(t *testing.T) {
			dir := t.TempDir()
			p, err := e.open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			records := load.Records(producers*each, size, 3)
			var wg sync.WaitGroup
			for i := range producers {
				wg.Go(func() {
					for _, r := range records[i*each : (i+1)*each] {
						if err := p.Put(t.Context(), r); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			found := 0
			files := contents(t, dir)
			for _, r := range records {
				// The middle of a record: what stands around it may be escaped, and
				// pages and blocks may cut it.
				if bytes.Contains(files, r[size/2:size/2+64]) || bytes.Contains(files, r[size/4:size/4+64]) {
					found++
				}
			}
			if found < producers*each {
				t.Errorf("%d of %d records are in the files", found, producers*each)
			}
		})
	}
}

func contents(t *testing.T, dir string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var b []byte
			b, err = os.ReadFile(path)
			all = append(all, b...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func peers(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(context.Background(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestRun_PrintsLinesTablesAndBars(t *testing.T) {
	dir := t.TempDir()
	code, out, stderr := peers("-engines", "append1,append-prealloc,kustospool*,bbolt*,append-nosync", "-producers", "1,64", "-record", "128,1024", "-repeats", "1", "-warmup", "0", "-duration", "10ms", "-dir", dir)
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	line := regexp.MustCompile(`(?m)^BenchmarkIngest/engine=[\w-]+/record=\d+/producers=\d+-\d+\s+\d+\s+\d+ ns/op\s+[\d.]+ MB/s\s+\d+ acks/s\s+[\d.]+ p50-us\s+[\d.]+ p99-us\s+[\d.]+ p999-us\s+[\d.]+ max-us$`)
	if n := len(line.FindAllString(out, -1)); n != (len(kustospoolEngines)+len(bboltEngines)+3)*2*2 {
		t.Errorf("%d result lines:\n%s", n, out)
	}
	for _, want := range []string{"median fdatasync", "records of 128 bytes", "records of 1024 bytes", "1 rounds: the verdicts below are no verdicts",
		"store, of the limit, recycled space, record=1024, producers=64", "store, of the limit, fresh space, record=1024, producers=1", "engine, of the limit, recycled space, record=1024, producers=64",
		"store, small records, of the limit, record=128, producers=64", "negative control: without fsync, record=1024, producers=1", "p99 of a lone producer, engine, of the limit's", "p99 in median fdatasyncs, engine, fresh space"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRun_GoesOnWithoutAnEngineThatFails(t *testing.T) {
	engines = append(engines, engine{"broken", "never opens", func(context.Context, string) (peer, error) { return nil, errors.New("no such luck") }})
	defer func() { engines = engines[:len(engines)-1] }()
	code, out, stderr := peers("-engines", "broken,append1,append-nosync", "-producers", "1", "-repeats", "1", "-warmup", "0", "-duration", "10ms", "-dir", t.TempDir())
	if code != 1 || !strings.Contains(stderr, "broken with 1 producers of 1024 bytes: opening: no such luck") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if strings.Count(out, "\nBenchmark") != 2 || !strings.Contains(out, "negative control: without fsync") {
		t.Errorf("the other engines were not measured:\n%s", out)
	}
}

func TestRun_Usage(t *testing.T) {
	for _, args := range [][]string{
		{"-engines", "append9"}, {"-producers", "0"}, {"-record", "1"}, {"-record", "x"}, {"-repeats", "0"}, {"-duration", "0"}, {"-nope"}, {"more"},
	} {
		if code, out, stderr := peers(args...); code != 2 || stderr == "" || out != "" {
			t.Errorf("%q: code %d, %q, %q", args, code, out, stderr)
		}
	}
	code, _, stderr := peers("-h")
	if code != 0 {
		t.Errorf("-h: code %d", code)
	}
	for _, e := range engines {
		if !strings.Contains(stderr, e.name) {
			t.Errorf("-h does not name %s", e.name)
		}
	}
	if code, _, stderr := peers("-dir", filepath.Join(t.TempDir(), "missing")); code != 1 || stderr == "" {
		t.Errorf("a directory that is not there: code %d, %q", code, stderr)
	}
}

func TestChoose(t *testing.T) {
	for _, tc := range []struct {
		names, want string
	}{
		{"pebble,append1", "pebble append1"},
		{"append2, append*", "append2 append1 append-prealloc append-checked append-pipelined append-nosync"},
		{"pebble,pebble", "pebble"},
	} {
		chosen, err := choose(tc.names)
		var names []string
		for _, e := range chosen {
			names = append(names, e.name)
		}
		if got := strings.Join(names, " "); err != nil || got != tc.want {
			t.Errorf("%q chooses %q, %v; want %q", tc.names, got, err, tc.want)
		}
	}
	if all, err := choose("*"); err != nil || len(all) != len(engines) {
		t.Errorf("* chooses %d, %v", len(all), err)
	}
	if _, err := choose("a,b"); err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("error %v, want both names", err)
	}
}

func TestClaims_AreOfEnginesThatExist(t *testing.T) {
	names := []string{ours, oursFresh, log, logFresh, floor}
	for _, c := range claims {
		names = append(append(names, c.over), c.under...)
		if len(c.least) == 0 {
			t.Errorf("%+v is measured nowhere", c)
		}
	}
	for _, s := range slows {
		names = append(names, s.engine)
	}
	for _, name := range names {
		if chosen, err := choose(name); err != nil || len(chosen) != 1 {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := bars(new(load.Table), time.Millisecond, time.Hour); len(got) != 0 {
		t.Errorf("%d bars without figures", len(got))
	}
}

// TestBars_OfATable: ratios, the best of the peers, both kinds of latency.
func TestBars_OfATable(t *testing.T) {
	takes := func(name string, d time.Duration) load.Contender {
		return load.Contender{Name: name, Open: func(context.Context) (load.Target, error) {
			return load.Target{Put: func(context.Context, int, []byte) error { <-time.After(d); return nil }}, nil
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		const duration = 10 * time.Second
		table, err := load.Compare(t.Context(), load.Comparison{
			Contenders: []load.Contender{
				takes(floor, time.Millisecond), takes(ours, 2*time.Millisecond),
				takes("raft-wal", 8*time.Millisecond), takes("pebble", 4*time.Millisecond),
			},
			Cases: []load.Case{{Record: barRecord, Producers: 1}, {Record: barRecord, Producers: 64}}, Repeats: 1, Duration: duration,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]load.Bar)
		for _, b := range bars(table, 500*time.Microsecond, duration) {
			got[b.Name] = b
		}
		for _, tc := range []struct {
			name   string
			under  string
			ratio  float64
			passes bool
		}{
			{"engine, of the limit, recycled space, record=1024, producers=1", floor, 0.5, false},
			{"engine, of the best peer that fsyncs, record=1024, producers=1", "pebble", 2, true},
			{"engine, of the best peer that fsyncs, record=1024, producers=64", "pebble", 2, true},
			{"p99 of a lone producer, engine, of the limit's, producers=1, in us", floor, 2, false},
			{"p99 in median fdatasyncs, engine, recycled space, producers=64, in us", "fdatasync", 4, false},
			{"p99.9 over 10 s with rotation, engine, recycled space, producers=64, in us", "bound", 0.67, true},
		} {
			b := got[tc.name]
			if b.Under.Text != tc.under || math.Abs(b.Ratio()-tc.ratio) > 0.03 || b.Passes() != tc.passes {
				t.Errorf("%s: %+v, ratio %.2f, passes: %v", tc.name, b, b.Ratio(), b.Passes())
			}
		}
		for _, b := range bars(table, 500*time.Microsecond, duration-1) {
			if strings.HasPrefix(b.Name, "p99.9") {
				t.Errorf("%s is judged by a shorter run", b.Name)
			}
		}
	})
}

func TestCommitted(t *testing.T) {
	for _, tc := range []struct {
		answer string
		fails  bool
	}{
		{`{"stream":"bench","seq":200,"batch":"2","count":100}`, false},
		{`{"stream":"bench","seq":99,"batch":"2","count":99}`, true},
		{`{"error":{"code":400,"err_code":10176,"description":"batch publish is incomplete"}}`, true},
		{`{}`, true},
		{``, true},
	} {
		if err := committed([]byte(tc.answer)); (err != nil) != tc.fails {
			t.Errorf("%s: %v", tc.answer, err)
		}
	}
}
