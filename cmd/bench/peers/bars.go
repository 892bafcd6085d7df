package main

import (
	"fmt"
	"slices"
	"time"

	"kustospool/cmd/bench/internal/load"
)

// ours is the engine that the bars are about: the whole way in.
const ours = "kustospool"

// claim is a bar of rates: name's over under's, with so many producers of
// barRecord bytes, or of each size in records where there are some.
type claim struct {
	name, over, under string
	producers         []int
	records           []int
	atLeast           float64
}

// barRecord is the record size of a bar that names none.
const barRecord = 1 << 10

// claims are what the store is to reach, on any disk that syncs: each is a
// ratio within one run. A bbolt commit has two fdatasyncs, so the file with
// two is the limit of a store like this one, and the file with one the limit
// of any that only appends.
var claims = slices.Concat([]claim{
	{"of the limit, two fdatasyncs a group", ours, "append2", []int{1, 16, 64, 256, 1024}, []int{128, 1 << 10, 16 << 10}, 0.9},
	{"of the limit, one fdatasync a group", ours, "append1", []int{1, 16}, nil, 0.45},
	{"of the limit, one fdatasync a group", ours, "append1", []int{64}, nil, 0.6},
	{"of the limit, one fdatasync a group", ours, "append1", []int{256, 1024}, nil, 0.8},
	// What is lost to what the store does beside keeping bytes: checksums, tables,
	// rotation, quota, the tally. bbolt itself is the limit of the rest.
	{"of bare bbolt, one fdatasync a group", "kustospool-store", "bbolt1", []int{1, 16, 64, 256, 1024}, nil, 0.9},
	// Calls are compared, and a call of the one is a hundred records: forty
	// times the records a second.
	{"IngestAll of 100, calls", "kustospool-all100", ours, []int{1}, nil, 0.4},
},
	fsyncing("otel-storage-fsync"), fsyncing("otel-queue-fsync"), fsyncing("tidwall-wal"), fsyncing("raft-wal"),
	fsyncing("nats-sync"), fsyncing("goqite"),
	[]claim{
		{"of a peer with a group commit", ours, "pebble", []int{16, 64}, nil, 0.8},
		{"of a peer with a group commit", ours, "pebble", []int{256, 1024}, nil, 1.5},
		{"durable against not durable", ours, "otel-queue-default", []int{16}, nil, 1.3},
		{"durable against not durable", ours, "otel-queue-default", []int{64}, nil, 4},
		{"durable against not durable", ours, "otel-queue-default", []int{256, 1024}, nil, 10},
		{"1000 lanes of one", "kustospool-lanes1000", "kustospool-store", []int{256}, nil, 0.5},
		// Unless leaving out the fsyncs makes a lone producer much faster, what is
		// measured is not the disk, and no other bar means anything.
		{"negative control: without fsync", "kustospool-nosync", "kustospool-store", []int{1}, nil, 3},
		{"negative control: without fsync", "append-nosync", "append1", []int{1}, nil, 3},
	})

// fsyncing are the claims over a peer that fsyncs each record by itself.
func fsyncing(peer string) []claim {
	const name = "over a peer that fsyncs each record"
	return []claim{
		{name, ours, peer, []int{16}, nil, 6},
		{name, ours, peer, []int{64}, nil, 20},
		{name, ours, peer, []int{256, 1024}, nil, 40},
	}
}

// barP99 bounds the 99th percentile of 64 producers, in median fdatasyncs of
// the same run. A record waits for the commit under way and then its own, of
// two fdatasyncs each; the rest is for a commit that the disk holds up.
const barP99 = 6

// cases are what a claim is measured by.
func (c *claim) cases() (out []load.Case) {
	records := c.records
	if records == nil {
		records = []int{barRecord}
	}
	for _, record := range records {
		for _, producers := range c.producers {
			out = append(out, load.Case{Record: record, Producers: producers})
		}
	}
	return out
}

// bars are the claims that the run has figures for.
func bars(t *load.Table, medianSync time.Duration) (out []load.Bar) {
	for _, c := range claims {
		for _, of := range c.cases() {
			over, measured := t.Rate(c.over, of)
			under, both := t.Rate(c.under, of)
			if !measured || !both {
				continue
			}
			out = append(out, load.Bar{
				Name: fmt.Sprintf("%s / %s, record=%d, producers=%d: %s", c.over, c.under, of.Record, of.Producers, c.name),
				Over: load.Figure{Text: c.over, Value: over}, Under: load.Figure{Text: c.under, Value: under},
				AtLeast: c.atLeast,
			})
		}
	}
	if p99, ok := t.P99(ours, load.Case{Record: barRecord, Producers: 64}); ok && medianSync > 0 {
		out = append(out, load.Bar{
			Name: "p99 / median fdatasync, producers=64, in us",
			Over: load.Figure{Text: "p99", Value: micros(p99)}, Under: load.Figure{Text: "fdatasync", Value: micros(medianSync)},
			AtMost: barP99,
		})
	}
	return out
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
