// Package slogspool writes the log of a program to a table: a [slog.Handler] over a
// table of a spool. Each log record is a row of JSON with the columns of [Columns].
//
//	logs, err := slogspool.New(table, nil)
//	slog.SetDefault(slog.New(logs))
//	defer logs.Close(ctx) // before the spool is closed
//
// # Promise
//
// Logging never waits for the disk or the network: a record is encoded, put into a
// queue bounded in bytes, and stored by the handler's goroutine together with those
// that came meanwhile. What was logged before [Handler.Flush] or [Handler.Close]
// returned nil is on stable storage, or counted as dropped. Attributes, groups and
// [slog.LogValuer] are those of [slog.JSONHandler], one level down, in the column
// attrs, so that no attribute can take the place of a column. Durations are
// nanoseconds, and times are UTC, but for those inside of structs and maps. Texts are
// cut at [MaxTextBytes] and say so; of a row over [MaxRowBytes] the message stays,
// with the size of what was left out.
//
// # Failure
//
// A record is dropped when the queue is full, when the spool refuses it, and after
// Close. One that the spool can never take, such as JSON nested too deep, is dropped
// alone. Drops are counted ([Handler.Stats]) and told by a row of their own, level
// WARN, with the number of them and the spool's last error, that is stored with the
// next rows. Close returns an error for those that no row tells of. What is still
// in the queue when the process dies is lost: a log record is not acknowledged.
//
// What the spool itself logs is not ingested, or each row would beget the next.
// Such records are known by the function that logs, and counted as Own. Give
// [engine.Options].Logger another handler, so that somebody hears them. The same
// loop through code of yours, such as an Observer that logs each event, is not seen.
//
// # What it does not do
//
// It creates no table, hides no secrets that are logged, and does not look for the
// same key twice among the attributes of a record. It does not close the spool.
//
// [engine.Options]: https://pkg.go.dev/kustospool/engine#Options
package slogspool
