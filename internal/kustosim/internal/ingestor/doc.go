// Package ingestor is the ingestion itself: it takes messages, commands and
// streams, aggregates, honours tags, downloads, parses, commits and reports.
//
// # Promise
//
// What was handed over is ingested as often as it was handed over, no less and
// no more, unless tags or the check for a repeated blob stop it. The look for a
// tag and the commit behind it are one step: everything that commits takes its
// turn. A blob is ingested whole or not at all.
//
// # Failure
//
// An ingestion ends with a [parse.Error], reported where its message wants it.
// A transient failure is repeated for ever. What [Ingestor.Run] has not done
// when its context ends is lost, as all of the simulator is.
//
// # What it does not do
//
// It listens on nothing: storage and the endpoint bring it work. It keeps no
// rows: the catalog does. It has one goroutine, which its owner runs.
package ingestor
