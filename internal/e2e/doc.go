// Package e2e holds the tests of the whole product: a spool over the queued
// transport, against the simulated service with its own storage and with
// Azurite's. They kill processes, take the service away, lose replies, and
// then balance the books: every acknowledged record is in the table exactly
// once, or where the test says it is.
//
// Every run prints its seed. CRASH_SEED repeats one; E2E_ROUNDS changes the
// number of kills. It has no code but tests.
package e2e
