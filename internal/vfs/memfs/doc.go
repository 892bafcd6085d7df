// Package memfs is a strict file system in memory, for tests of what survives.
//
// It keeps apart what was written and what is durable. Crash gives the file
// system as it may be after a power cut: of each 512-byte sector that was
// written since the last Sync of its file either the durable bytes or those
// of one of the writes since, each sector decided by itself; of the file's
// size the durable one or one of those since; of the names in a directory
// what SyncDir made durable and some of the changes since. A Sync of a file
// says nothing of its name. Kill gives it as a killed process leaves it:
// nothing is lost, and nothing has become durable by that.
//
// A failed Sync leaves some sectors durable and the others readable but never
// to become so, as Linux does: a later Sync that returns nil does not cover them.
//
// Which of it happens is drawn from a seed, so the same calls in the same
// order have the same end. Fail makes the nth call of a kind fail, CutAfter
// cuts the power at the nth call that changes something, Limit bounds the room.
//
// It does not model a sector that is torn, bytes that rot, or two names for
// one file, and keeps no modes and no times.
package memfs
