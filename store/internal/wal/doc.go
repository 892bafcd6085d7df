// Package wal is the write-ahead log of the store: records go into it once, in
// one write and one sync, and are read from it when they are sent.
//
// # Promise
//
// When Append returns nil its records are on stable storage: they come back,
// with their sequence numbers, after the process was killed or the power was
// cut. When it returns an error nothing was stored, except for [ErrUnknown],
// which says what its name says. The sequence numbers of a lane begin at 1 and
// go up by one for each record, in the order of commits. A key, a position and
// the records of one call are durable together or not at all.
//
// The log assumes that a disk sector of 512 bytes is old or new after a power
// cut, never a mixture, that a sync that returns nil has reached the medium,
// and nothing about the order of what was not synced.
//
// # Failure
//
// The log ends at the last commit that proves itself by its checksum. What is
// behind it was acknowledged to nobody, unless a later commit of the same
// generation proves itself: then the stretch between is damage, costs the
// frames that no longer prove themselves, and is told as such in [Recovered].
// Damage never makes Open fail, and nothing is deleted because of it. What
// cannot be read when the log is opened is damage for now: nothing is written
// over it, and a later Open may find it. A full
// volume refuses one call with [ErrNoSpace] and the log goes on; any other
// failure to write, or to sync, ends the log until it is opened again, and so
// does an active file that was removed underneath it.
//
// # What it does not do
//
// It knows no batches: which records are settled is the business of whoever
// calls Recycle. It does not remember the keys it stored beyond the commits
// under way, does not enforce a quota but asks its [Gate], moves no file out of
// its directory, and keeps no record of its own beside the segment files.
package wal
