package main

import (
	"fmt"
	"time"

	"kustospool/cmd/bench/internal/load"
)

// ours is the engine that the bars are about: the whole way in.
const ours = "kustospool"

// claim is a bar of rates: name's over under's, with so many producers of
// barRecord bytes.
type claim struct {
	name, over, under string
	producers         int
	atLeast           float64
}

// barRecord is the record size that the bounds are for.
const barRecord = 1 << 10

// claims hold on any disk that syncs, because each is a ratio within one run.
// The bounds are what prototypes of this store reached over the same peers,
// less a fifth for what a prototype leaves out: lanes, the ledger, receipts.
// A bbolt commit has two fdatasyncs, hence half of the limit with one.
var claims = []claim{
	{"of the limit, one fdatasync a group", ours, "append1", 1, 0.38},
	{"of the limit, one fdatasync a group", ours, "append1", 16, 0.40},
	{"of the limit, one fdatasync a group", ours, "append1", 64, 0.53},
	{"of the limit, one fdatasync a group", ours, "append1", 256, 0.60},
	{"of the limit, one fdatasync a group", ours, "append1", 1024, 0.60},
	{"of the limit, two fdatasyncs a group", ours, "append2", 1, 0.75},
	{"of the limit, two fdatasyncs a group", ours, "append2", 16, 0.75},
	{"of the limit, two fdatasyncs a group", ours, "append2", 64, 0.75},
	{"of the limit, two fdatasyncs a group", ours, "append2", 256, 0.75},
	{"of the limit, two fdatasyncs a group", ours, "append2", 1024, 0.75},
	{"over a peer that fsyncs each record", ours, "otel-storage-fsync", 64, 10},
	{"over a peer that fsyncs each record", ours, "otel-queue-fsync", 64, 10},
	{"over a peer that fsyncs each record", ours, "tidwall-wal", 64, 10},
	{"over a peer that fsyncs each record", ours, "raft-wal", 64, 10},
	{"over a peer that fsyncs each record", ours, "nats-sync", 64, 10},
	{"over a peer that fsyncs each record", ours, "goqite", 64, 10},
	{"of a peer with a group commit", ours, "pebble", 16, 0.68},
	{"of a peer with a group commit", ours, "pebble", 64, 0.75},
	{"of a peer with a group commit", ours, "pebble", 256, 1.4},
	{"durable against not durable", ours, "otel-queue-default", 16, 1.1},
	{"durable against not durable", ours, "otel-queue-default", 64, 4},
	{"1000 lanes of one", "kustospool-lanes1000", "kustospool-store", 64, 0.5},
	// Unless leaving out the fsyncs makes a lone producer much faster, what is
	// measured is not the disk, and no other bar means anything.
	{"negative control: without fsync", "kustospool-nosync", "kustospool-store", 1, 3},
	{"negative control: without fsync", "append-nosync", "append1", 1, 3},
}

// barP99 bounds the 99th percentile of 64 producers, in median fdatasyncs of
// the same run. A record waits for the commit under way and then its own, of
// two fdatasyncs each; the rest is for a commit that the disk holds up.
const barP99 = 7

// bars are the claims that the run has figures for.
func bars(t *load.Table, medianSync time.Duration) (out []load.Bar) {
	for _, c := range claims {
		of := load.Case{Record: barRecord, Producers: c.producers}
		over, measured := t.Rate(c.over, of)
		under, both := t.Rate(c.under, of)
		if !measured || !both {
			continue
		}
		out = append(out, load.Bar{
			Name: fmt.Sprintf("%s / %s, producers=%d: %s", c.over, c.under, c.producers, c.name),
			Over: load.Figure{Text: c.over, Value: over}, Under: load.Figure{Text: c.under, Value: under},
			AtLeast: c.atLeast,
		})
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
