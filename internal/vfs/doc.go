// Package vfs is the seam between the store and the file system: the few calls
// that a store of logs needs, so that a test can stand in for the disk.
//
// OS is the real one. Package memfs, below this one, has the strict one: it
// keeps only what was synced when its power is cut, tears writes by sector, and
// fails the call that a test names.
//
// An error means that the call had no effect, with two exceptions: a failed
// Sync or SyncDir leaves open what is durable, and a failed write may have
// written a part. Nothing here retries.
//
// It does not cache, buffer, log or map memory, and bbolt does not go through
// it: bbolt has its own file.
package vfs
