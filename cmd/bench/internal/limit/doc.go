// Package limit is the physical limit that a store's acknowledgements are
// compared with: a plain file that is only appended to, with a group commit
// and nothing else.
//
// # What is promised
//
// [Log.Append] returns nil when its record was written and synced to the file,
// after everything that was appended before it. Groups form by themselves:
// whatever waits when a commit ends is the next group, and gets one write and
// the number of syncs that [Options] asks for. With two, the second covers a
// commit record in the file's first page, which is what a store of pages with
// a meta page (bbolt) cannot do without.
//
// # Failure
//
// After a failed write or sync the appends of that group get its error and
// every later one the same: what is on the disk is not known any more.
//
// # What it does not do
//
// It keeps no lengths and no checksums, and cannot be opened again: it says
// how fast a disk is, and is no store. A preallocated file is a ring that
// overwrites its oldest records.
package limit
