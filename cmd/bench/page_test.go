package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// verdictRow is a row of the page's table of verdicts: its words, and its figures,
// each by the bar that it is of.
type verdictRow struct {
	what, figures string // figures has a verb for each of the bars
	bars          []printed
}

// printed is a verdict of the recorded output: the nth of a bar, as its ratio, or as
// the first of its two figures multiplied by figure.
type printed struct {
	bar    string
	nth    int
	figure float64
}

// byProducers are the ratios of a bar with each number of producers.
func byProducers(bar string) (all []printed) {
	for _, n := range []int{1, 16, 64, 256, 1024} {
		all = append(all, printed{bar: fmt.Sprintf("%s, producers=%d", bar, n)})
	}
	return all
}

// onDevice are the bytes on the device of the four loads.
func onDevice(space string) (all []printed) {
	for _, load := range []string{"record=1024/producers=1", "record=65/producers=1", "record=1024/producers=64", "record=1024/producers=1024"} {
		all = append(all, printed{bar: "bytes on the device, of=engine/space=" + space + "/" + load})
	}
	return all
}

const (
	ratios = "%.2f, %.2f, %.2f, %.2f, %.2f"
	p99s   = "p99 in median fdatasyncs, engine, %s space, producers=64, in us"
	p999s  = "p99.9 over 10 s with rotation, engine, %s space, producers=64, in us"
)

var verdictRows = []verdictRow{
	{"store / the limit, recycled", ratios, byProducers("store, of the limit, recycled space, record=1024")},
	{"store / the limit, fresh", ratios, byProducers("store, of the limit, fresh space, record=1024")},
	{"engine / the limit, recycled", ratios, byProducers("engine, of the limit, recycled space, record=1024")},
	{"engine / the limit that checks and sums, recycled", ratios, byProducers("engine, of the limit that checks and sums each record, recycled space, record=1024")},
	{"engine / the best peer that fsyncs (raft-wal; else pebble)", ratios, byProducers("engine, of the best peer that fsyncs, record=1024")},
	{"`IngestAll` of 100 / an atomic batch of 100 of NATS, calls", "%.1f, %.1f, %.1f, %.1f, %.1f", byProducers("IngestAll of 100, of an atomic batch of 100, calls, record=1024")},
	{"1000 lanes / 1 lane, store, 256 producers, fresh", "%.2f", []printed{{bar: "1000 lanes of one, record=1024, producers=256"}}},
	{"negative control: without fsync / with, one producer", "%.0f", []printed{{bar: "negative control: without fsync, record=1024, producers=1"}}},
	{"p99 of one producer / the limit's, engine and store", "%.2f, %.2f", []printed{{bar: "p99 of a lone producer, engine, of the limit's, producers=1, in us"}, {bar: "p99 of a lone producer, store, of the limit's, producers=1, in us"}}},
	{"p99 at 64 in median fdatasyncs, engine, recycled; fresh", "%.2f (%.2f over 10 s); %.2f (%.2f over 10 s)", []printed{
		{bar: fmt.Sprintf(p99s, "recycled")}, {bar: fmt.Sprintf(p99s, "recycled"), nth: 1}, {bar: fmt.Sprintf(p99s, "fresh")}, {bar: fmt.Sprintf(p99s, "fresh"), nth: 1}}},
	{"p99.9 at 64 over 10 s with rotation, engine, recycled; fresh", "%.2f ms; %.2f ms", []printed{{bar: fmt.Sprintf(p999s, "recycled"), figure: 1e-3}, {bar: fmt.Sprintf(p999s, "fresh"), figure: 1e-3}}},
	{"store at 128 B / the limit", ratios, byProducers("store, small records, of the limit, record=128")},
	{"store at 16 KiB / the limit", ratios, byProducers("store, large records, of the limit, record=16384")},
	{"engine at 128 B / the limit", ratios, byProducers("engine, small records, of the limit, record=128")},
	{"engine at 16 KiB / the limit", ratios, byProducers("engine, large records, of the limit, record=16384")},
	{"bytes on the device, recycled: lone 1 KiB; lone 65 B; 64; 1024", "%.2f; %.1f; %.2f; %.2f", onDevice("recycled")},
	{"the same, fresh", "%.2f; %.1f; %.2f; %.2f", onDevice("fresh")},
	{"drain, one lane, cold", "%.2f (%.0f of 658 MB/s)", []printed{{bar: "drain, cold, lanes=1, of plain files"}, {bar: "drain, cold, lanes=1, of plain files", figure: 1}}},
	{"drain, one lane, warm", "%.2f", []printed{{bar: "drain, warm, lanes=1, of plain files"}}},
	{"drain, 20 lanes, cold", "%.2f (%.0f of 627 MB/s)", []printed{{bar: "drain, cold, lanes=20, of plain files"}, {bar: "drain, cold, lanes=20, of plain files", figure: 1}}},
	{"ingestion beside a drain, of what the limit keeps beside gzip", "%.2f (0.67 / 0.53)", []printed{{bar: "ingestion beside a drain, of what the limit keeps beside gzip"}}},
	{"open with 20 GiB / empty", "%.2f (%.1f ms)", []printed{{bar: "open with backlog=21474836480, of an empty spool"}, {bar: "open with backlog=21474836480, in ms", figure: 1}}},
	{"open after kill -9 with a full segment, warm, cold", "%.0f, %.0f ms", []printed{{bar: "open after kill -9 with a full active segment, warm, in ms", figure: 1}, {bar: "open after kill -9 with a full active segment, cold, in ms", figure: 1}}},
	{"peak heap with 20 GiB and 1024 producers; of an empty spool's", "%.1f MiB; %.2f", []printed{{bar: "peak heap with backlog=21474836480, producers=1024, in MiB", figure: 1}, {bar: "peak heap, flat: of an empty spool's"}}},
}

// Each row of verdicts has the figures that the runs printed, and says FAIL where one of
// them failed and only there.
func TestVerdictsOfTheDocs(t *testing.T) {
	results, _, _ := strings.Cut(readFile(t, page), "## History")
	recordedText := readFile(t, recorded)
	for _, row := range verdictRows {
		if err := row.check(results, recordedText); err != nil {
			t.Error(err)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^\| (?:PASS|FAIL|note)`).FindAllString(results, -1)); n != len(verdictRows)+1 { // and that of the code's lines
		t.Errorf("docs/benchmarks.md has %d rows of verdicts, %d are compared", n, len(verdictRows))
	}
	// The controls: another figure, and another word.
	if verdictRows[0].check(results, strings.Replace(recordedText, " 1.12   >= 0.95", " 1.13   >= 0.95", 1)) == nil {
		t.Error("another ratio is taken for that of the page")
	}
	if verdictRows[6].check(results, strings.Replace(recordedText, "PASS     1000 lanes", "FAIL     1000 lanes", 1)) == nil {
		t.Error("a failed bar may be PASS on the page")
	}
}

func (r *verdictRow) check(page, recorded string) error {
	m := regexp.MustCompile(`(?m)^\| ([^|]+) \| ` + regexp.QuoteMeta(r.what) + ` \| ([^|]+) \|`).FindStringSubmatch(page)
	if m == nil {
		return fmt.Errorf("docs/benchmarks.md has no row %q", r.what)
	}
	failed := false
	var values []any
	for _, p := range r.bars {
		all := regexp.MustCompile(`(?m)^(PASS|FAIL|note) +`+regexp.QuoteMeta(p.bar)+`  +([\d.]+) .*?([\d.]+) / .*$`).FindAllStringSubmatch(recorded, -1)
		if p.nth >= len(all) {
			return fmt.Errorf("%s: %d of them are recorded", p.bar, len(all))
		}
		v := all[p.nth]
		failed = failed || v[1] == "FAIL"
		text, factor := v[2], 1.0
		if p.figure != 0 {
			text, factor = v[3], p.figure
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		values = append(values, f*factor)
	}
	if want := fmt.Sprintf(r.figures, values...); m[2] != want {
		return fmt.Errorf("docs/benchmarks.md: %s: %q, the runs have %q", r.what, m[2], want)
	}
	if strings.Contains(m[1], "FAIL") != failed {
		return fmt.Errorf("docs/benchmarks.md: %s: %q, and that one failed is %v", r.what, m[1], failed)
	}
	return nil
}
