// Package telemetry makes metrics of a spool: one table of instruments
// ([Instruments]), filled from snapshots ([engine.Stats]) and from events
// ([engine.Observer]). Package telemetry/prometheus writes them as text for a
// scrape, and telemetry/otel gives them, and traces, to OpenTelemetry. Names,
// units and what to do about each are in docs/telemetry.md.
//
//	m := telemetry.New(nil)
//	spool, err := engine.Open(dir, tr, &engine.Options{Observer: m})
//	m.Watch(spool)
//	http.Handle("/metrics", prometheus.Handler(m))
//
// # Promise
//
// What comes from a snapshot is of one moment: in each collection
//
//	acknowledged = waiting + settled
//
// holds to the record, whatever the spool is doing. What comes from events (the
// histograms, attempts by outcome, settled records by table) counts from Open, and
// may be some 20 milliseconds behind.
//
// The number of series is bounded: tables beyond [Options].MaxTables are added up
// as the table "other". An acknowledgement waits for none of this.
//
// # Failure
//
// A meter has no values until [Meter.Watch]. Events that came faster than it took them
// are only counted ([engine.EventsFolded]): sums stay exact, and the instrument
// kustospool.events.folded says how many are missing from histograms and from what is
// told by table.
//
// # What it does not do
//
// It exports nothing by itself, keeps no history, and stores nothing on the disk:
// what comes from events begins at 0 with each process.
package telemetry
