package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"kustospool/cmd/bench/internal/load"
)

// The engines that the bars are about, and what they are held against.
const (
	ours         = "kustospool-recycled"
	oursFresh    = "kustospool"
	log          = "kustospool-store-recycled"
	logFresh     = "kustospool-store"
	floorChecked = "append-checked"
	floor        = "append-prealloc" // a ring that was written before: recycled space for every row
)

// fsynced are the peers whose acknowledgement means as much as ours.
var fsynced = []string{"raft-wal", "pebble", "tidwall-wal", "goqite", "nats-sync"}

// barRecord is the record size of a bar that names none.
const barRecord = 1 << 10

// barRepeats is how many rounds the medians of a verdict are to be of.
const barRepeats = 5

// claim is a row of bars of rates: over's and the best of under's, for each
// number of producers that has a bound.
type claim struct {
	name    string
	over    string
	under   []string
	records []int // sizes; nil is barRecord
	least   map[int]float64
}

// each gives all numbers of producers that are measured the same bound.
func each(least float64) map[int]float64 {
	return bounds(least, least, least, least, least)
}

// bounds are for 1, 16, 64, 256 and 1024 producers. 0 is a note without a bound.
func bounds(at1, at16, at64, at256, at1024 float64) map[int]float64 {
	return map[int]float64{1: at1, 16: at16, 64: at64, 256: at256, 1024: at1024}
}

// claims are what the store is to reach, on any disk that syncs: each is a
// ratio within one run.
var claims = []claim{
	{"store, of the limit, recycled space", log, []string{floor}, nil, bounds(0.95, 0.92, 0.82, 0.85, 0.90)},
	{"store, of the limit, fresh space", logFresh, []string{floor}, nil, bounds(0.90, 0.85, 0.70, 0.60, 0.70)},
	{"engine, of the limit, recycled space", ours, []string{floor}, nil, bounds(0.90, 0.90, 0.75, 0.75, 0.80)},
	{"engine, of the limit, fresh space", oursFresh, []string{floor}, nil, each(0)},
	// How much of what the engine lacks is the reading of the bytes themselves.
	{"engine, of the limit that checks and sums each record, recycled space", ours, []string{floorChecked}, nil, each(0)},
	{"engine, of the best peer that fsyncs", ours, fsynced, nil, bounds(1, 2, 2, 2.5, 3)},
	{"engine on fresh space, of the best peer that fsyncs", oursFresh, fsynced, nil, each(0)},
	{"IngestAll of 100, of an atomic batch of 100, calls", "kustospool-all100", []string{"nats-sync-batch100"}, nil, each(1)},
	{"store, small records, of the limit", log, []string{floor}, []int{128}, each(0.80)},
	{"store, large records, of the limit", log, []string{floor}, []int{16 << 10}, each(0.80)},
	{"engine, small records, of the limit", ours, []string{floor}, []int{128}, bounds(0.70, 0.70, 0.70, 0.70, 0.55)},
	{"engine, large records, of the limit", ours, []string{floor}, []int{16 << 10}, each(0.70)},
	{"1000 lanes of one", "kustospool-lanes1000", []string{logFresh}, nil, map[int]float64{256: 0.75}},
	// The work of a thousand batches in place of one is in this.
	{"1000 lanes of one, all sealed and settled", "kustospool-lanes1000-recycled", []string{log}, nil, map[int]float64{256: 0}},
	{"durable against not durable", oursFresh, []string{"otel-queue-default"}, nil, map[int]float64{16: 1.3, 64: 4, 256: 10, 1024: 10}},
	// Unless leaving out the fsyncs makes a lone producer much faster, what is
	// measured is not the disk, and no other bar means anything.
	{"negative control: without fsync", "kustospool-nosync", []string{logFresh}, nil, map[int]float64{1: 3}},
	{"negative control: without fsync", "append-nosync", []string{"append1"}, nil, map[int]float64{1: 3}},
}

// slow is a row of bars of latencies with so many producers of barRecord bytes.
type slow struct {
	name      string
	producers int
	engine    string
	quantile  func(*load.Table, string, load.Case) (time.Duration, bool)
	// What it is held against: the same quantile of another engine, the run's
	// median fdatasync, or a time.
	engineUnder string
	syncs       bool
	limit       time.Duration
	atMost      float64
	lasting     time.Duration // the shortest measurement that says something
}

// manyRotations is a measurement in which segments are rotated many times.
const manyRotations = 10 * time.Second

var slows = []slow{
	{name: "p99 of a lone producer, engine, of the limit's", producers: 1, engine: ours, quantile: (*load.Table).P99, engineUnder: floor, atMost: 1.5},
	{name: "p99 of a lone producer, store, of the limit's", producers: 1, engine: log, quantile: (*load.Table).P99, engineUnder: floor, atMost: 1.5},
	{name: "p99 in median fdatasyncs, engine, recycled space", producers: 64, engine: ours, quantile: (*load.Table).P99, syncs: true, atMost: 3},
	{name: "p99 in median fdatasyncs, engine, fresh space", producers: 64, engine: oursFresh, quantile: (*load.Table).P99, syncs: true, atMost: 5},
	{name: "p99 in median fdatasyncs, the limit", producers: 64, engine: floor, quantile: (*load.Table).P99, syncs: true},
	{name: "p99.9 over 10 s with rotation, engine, recycled space", producers: 64, engine: ours, quantile: (*load.Table).P999, limit: 3 * time.Millisecond, atMost: 1, lasting: manyRotations},
	{name: "p99.9 over 10 s with rotation, engine, fresh space", producers: 64, engine: oursFresh, quantile: (*load.Table).P999, limit: 3 * time.Millisecond, lasting: manyRotations},
}

// bars are the claims that the run has figures for. Each measurement took duration.
func bars(t *load.Table, medianSync, duration time.Duration) (out []load.Bar) {
	for _, c := range claims {
		out = append(out, c.bars(t)...)
	}
	for _, s := range slows {
		if bar, ok := s.bar(t, medianSync, duration); ok {
			out = append(out, bar)
		}
	}
	return out
}

func (c *claim) bars(t *load.Table) (out []load.Bar) {
	records := c.records
	if records == nil {
		records = []int{barRecord}
	}
	for _, record := range records {
		for _, producers := range sorted(c.least) {
			of := load.Case{Record: record, Producers: producers}
			over, measured := t.Rate(c.over, of)
			under, both := best(t, c.under, of)
			if !measured || !both {
				continue
			}
			out = append(out, load.Bar{
				Name: fmt.Sprintf("%s, record=%d, producers=%d", c.name, record, producers),
				Over: load.Figure{Text: c.over, Value: over}, Under: under,
				AtLeast: c.least[producers],
			})
		}
	}
	return out
}

// best is the highest rate of those that were measured.
func best(t *load.Table, names []string, of load.Case) (f load.Figure, ok bool) {
	for _, name := range names {
		if rate, measured := t.Rate(name, of); measured && rate > f.Value {
			f, ok = load.Figure{Text: name, Value: rate}, true
		}
	}
	return f, ok
}

func (s *slow) bar(t *load.Table, medianSync, duration time.Duration) (bar load.Bar, ok bool) {
	of := load.Case{Record: barRecord, Producers: s.producers}
	over, ok := s.quantile(t, s.engine, of)
	if !ok || duration < s.lasting {
		return bar, false
	}
	bar = load.Bar{
		Name: fmt.Sprintf("%s, producers=%d, in us", s.name, s.producers),
		Over: load.Figure{Text: s.engine, Value: micros(over)}, AtMost: s.atMost,
	}
	switch {
	case s.engineUnder != "":
		under, measured := s.quantile(t, s.engineUnder, of)
		bar.Under, ok = load.Figure{Text: s.engineUnder, Value: micros(under)}, measured
	case s.syncs:
		bar.Under, ok = load.Figure{Text: "fdatasync", Value: micros(medianSync)}, medianSync > 0
	default:
		bar.Under = load.Figure{Text: "bound", Value: micros(s.limit)}
	}
	return bar, ok
}

func sorted(least map[int]float64) []int {
	out := make([]int, 0, len(least))
	for producers := range least {
		out = append(out, producers)
	}
	slices.Sort(out)
	return out
}

func micros(d time.Duration) float64 { return math.Round(float64(d.Nanoseconds())/10) / 100 }
