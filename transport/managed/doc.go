// Package managed is the transport that streams where it can and queues where
// it must: low latency for small batches, and the queue's capacity behind it.
//
// # Promise
//
// A batch of an at-least-once table that is small enough and asks for nothing
// that a stream cannot carry is streamed. It is queued instead, in the same
// Send, when the service refuses the stream for its size, for want of
// capacity, or because of how the table is configured, and when the stream
// could not be begun: no connection, or a refusal that calls itself passing.
// All but the size are remembered for the table: [ClientOptions].QueueFor after
// a configuration, ThrottleFor after the others. A stream that may have been
// taken (a 5xx, a redirect, a connection that broke, no reply in time) is queued
// by the next attempt, which comes after the engine's usual pause: about a
// second. From the third attempt on a batch is queued whatever became of its
// streams. A permanent error is never a reason to queue: the queue would only
// fail later.
//
// A batch of an exactly-once table is always queued, because a stream has no
// tag by which the service could skip a repeat.
//
// # Failure
//
// The errors are those of the transport that made the attempt. A stream whose
// reply is lost is Unknown and Untraceable, and the rows of the repeat may be
// doubled: [Client.Figures] counts those that go by the queue, the
// engine counts all. A batch that was queued stays with the queue, also after
// a restart and also when the package's user is [kustospool/transport/queued]
// by then: its progress is the same.
//
// # What it does not do
//
// It starts no goroutine that outlives a call. What it remembers of tables is
// lost with the process.
package managed
