// Package device tells how many bytes were written to the device under a
// directory, and waits until what programs have written is there.
//
// # What is promised
//
// [Written] is the block layer's own counter, so that the file system's
// journal, its metadata and what the kernel rounds up are in it. A process's
// counters (getrusage, /proc/self/io) say something else: they count a whole
// folio when it becomes dirty, which can be a megabyte for a record of one.
//
// # Failure
//
// [Written] returns an error that says why where there is no such counter: on
// other systems than Linux, and for file systems that are on no block device of their own
// (overlayfs, tmpfs, btrfs). There is no guess in its place.
//
// # What it does not do
//
// The counter is the device's and not the process's: whatever else writes to
// the same device is in it. Call [Settle] before each of two readings, and let
// nothing else run between them.
package device
