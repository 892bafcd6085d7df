// Package batching decides when the records of a lane that wait in no batch
// yet become one. It is pure policy: no clock, no goroutine, no I/O. The
// caller says what arrived and what time it is, and gets back the ranges to
// seal.
//
// # When a span is sealed
//
// A lane has at most one open span, a contiguous range of its sequence
// numbers. Frames extend it:
//
//	frames    |--a--|--b--|----c----|--d--|          (gap)   |--e--|
//	          open        limit     open       age           open
//	spans     |=====a+b===|=========c+d===|sealed by Due     |==e== ...
//
// What seals it:
//
//   - by size or count, before a frame that would carry the span past a
//     limit, and after one that reaches it exactly or by itself;
//   - by age, when its oldest record has waited for [Policy.MaxAge] ([Aggregator.Due]);
//   - by a gap, because a batch is one contiguous range;
//   - at once, in a lane whose every frame is a batch of its own (a whole
//     Parquet file, say);
//   - by the caller ([Aggregator.Flush]).
//
// A frame is never split, so a span is over a limit only when its one frame
// is. A lane whose sealed batches cannot leave is not sealed by age, nor need it
// be by the caller: an outage then makes a few large batches and not many small
// ones, each of which the service would have to ingest by itself.
//
// # What is promised
//
// Every frame given to [Aggregator.Add] comes back in exactly one sealed span
// or is part of the open one; the spans of a lane come in the lane's order
// and do not overlap. A decision depends on the calls alone, so a replay of
// the same calls decides the same. There are no errors. Memory is a few
// hundred bytes for each lane with an open span, whatever it holds.
//
// The package does not make anything durable, does not know batches' names
// and does not check that a frame is new: to add a frame twice is the
// caller's mistake and doubles it.
package batching
