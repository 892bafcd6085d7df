// Package ledger keeps the books of a spool: which lanes there are and how far
// each is sealed, every live batch and what became of the settled ones, the
// segments and objects that the log is made of, keys, positions and counters.
// They are rows of one bbolt file.
//
// Its promise: a change is whole or not there. What a call of Do wrote is on
// stable storage when the call returns nil, and what readers see is never
// ahead of that. The counters move in the same transaction as the rows they
// count, so that the law of Counters holds in every file that a crash leaves.
// Everything but the history and the keys is mirrored in memory; looking at it
// reads no disk.
//
// Before bbolt gets the file it is read by the package's own reader, page by
// page, which accepts only what bbolt writes: see verify.go. Each row carries
// a checksum over its bucket, its key and its value, and the books say how
// many rows each bucket has and what their checksums add up to. What does not
// pass is refused with an error that matches ErrDamaged, and the file is left
// as it is. Damage that touches nothing but history, keys or the list of free
// pages costs those only: the file is written again without them.
//
// Failure: for want of space a change is refused with ErrFull and nothing
// happened. After any other failed write the ledger has failed: every further
// change is ErrFailed, the one under way may be ErrOutcomeUnknown, and reading
// goes on. A failure that looks like damage leaves a flag beside the file, so
// that the next Open does not trust it.
//
// It does not rebuild itself: that takes the log, which it does not know. It
// does not lock the spool, decide when anything is sealed, sent or removed, or
// touch any file but its own.
package ledger
