// Package stats counts what the simulator has seen and done.
//
// # Promise
//
// A counter is raised when the effect is there, and before a client hears of
// it, so that a test that waits for a reply sees the number. A snapshot is one
// moment of all counters.
//
// # Failure
//
// Nothing here fails.
//
// # What it does not do
//
// Counters are never reset and tell no times.
package stats
