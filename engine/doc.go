// Package engine is kustospool's public face: a durable queue in a directory,
// embedded in your program, that delivers to Kusto for as long as it takes.
//
//	spool, err := engine.Open(dir, tr, nil)
//	rcpt, err := spool.Ingest(ctx, &ingest.Request{Properties: p, Data: line})
//	st, err := spool.Wait(ctx, rcpt.ID)
//	err = spool.Shutdown(ctx)
//
// # What to call, in this order
//
//   - [Open] with a transport: queued, direct, managed, dir or route, or one of
//     your own ([transport.Transport]). It works on the disk only.
//   - Put records in. [Spool.Ingest] takes one, [Spool.IngestAll] many, all or
//     none. [Spool.Table] is a spool seen through one set of properties:
//     [Table.Ingest], [Table.IngestJSON] and [Table.Writer], which cuts what is
//     written into records. [Spool.IngestFile] and [Spool.IngestReader] take files and
//     streams of any size, [Spool.IngestBlob] the address of a blob.
//   - Ask what became of them. [Spool.Wait] and [Spool.Status] tell it of one
//     record, [Spool.WaitAll] and [Spool.StatusAll] of all records of a receipt, in
//     this process or a later one.
//   - Watch. [Spool.Stats] is one snapshot of what waits, since when and why, and an
//     [Observer] is told what happens.
//     [Spool.DeadLetters] are the records that can never be ingested.
//     [Look] shows a spool that no process has open. The commands of kustospool see
//     one that is open by its socket (package operate), which [Options].NoSocket turns off.
//   - End. [Spool.Shutdown] delivers what is left, within its context, and
//     closes; [Spool.Close] stops now. [Spool.Flush] seals now, [Spool.Drain] waits
//     until all is delivered.
//
// [Options] and [TableOptions] say when a batch is sealed, what a table is
// promised, and what bounds the disk. The zero value is a good beginning.
//
// # What it promises
//
// When Ingest returns nil the record is on stable storage. From then on it
// ends in one of four ways, and each is counted: ingested (or found to have
// been), dead-lettered with its payload, handed over (a table with
// [ingest.ConfirmAccepted]), or dropped by a policy that the caller chose.
// Time alone never ends it. A record of a table with [ingest.ExactlyOnce] is
// not doubled by anything the engine, the network or a crash does, as far as
// the service keeps its tags (package ingest says how far that is).
//
// # Failure
//
// A destination that is down, throttles, or refuses the credential costs
// nothing but disk. A table that is missing waits by itself. Data that the
// service cannot read is split until the bad record is alone in the dead
// letters. A failed fsync stops the spool with [ErrFailed]: close it, look at
// the disk, open it again. Nothing here panics or exits the process.
//
// What the caller plugs in may fail worse. A transport, tracker, router, reader
// or log handler that panics, ends its goroutine, returns a nil pointer as an
// error, or answers what nobody asked or what makes no sense costs its own call:
// the batch is then [transport.Unknown] when Journal.Commit had returned and
// [transport.Transient] when not, with the panic's words in its status, and goes
// on from there. What no guard reaches: a panic in a goroutine that a plug
// started by itself ends the process, a call that never returns holds its batch
// and Close, and an answer that is false and plausible is believed.
//
// # What happens inside
//
// The store writes records of many callers in one commit. The sealer cuts the
// lanes into batches by size and age. The dispatcher attempts batches, lanes in
// turn, behind a breaker that lets a single attempt probe a destination in
// trouble. The tracker asks for the outcome of what was accepted, and resolves
// attempts whose outcome is unknown. Every intent is in the batch ledger before
// its effect, so any step may be the last of this process. Behind a
// router ([transport.Router]; package transport/route has one) all of this is by
// destination: one that is in trouble delays none of the others. Within a lane
// batches are first attempted in the order of acceptance, unless its table is of
// [FreshFirst]; tables of a higher [Class] go before others. The order in which
// they become visible at the destination is its own affair.
//
// Sources, files and streams, are read to disk as they come, in memory of a few
// megabytes, and become durable in one commit. What of them is no record stops
// them, is passed over, or is dead-lettered at once: [BadRecordPolicy].
//
// A call, a source, or each commit of a writer ([Writer.Carry]) can carry a
// position ([ingest.Position]): where the caller's own source stands, durable in
// the same commit as the records, or not at all. [Spool.Position] gives it back
// in this process or the next. A program that goes on there after a crash
// neither skips nor repeats.
//
// docs/design.md has the rest, for whoever carries on.
//
// # What it does not do
//
// It looks into records no further than to know that they are such (package
// ingest/record): what would take a neighbour with it in a batch, or be passed
// over by the service without a word, is refused. It does not deduplicate
// what callers send twice, unless they set Request.Key. It has no metrics
// endpoint (package telemetry makes one of [Spool.Stats] and [Options].Observer) and
// writes no log unless given a logger.
package engine
