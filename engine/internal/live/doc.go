// Package live is the mirror of the live batches: what the engine knows of them
// beside the ledger. It says whose turn it is (classes in their order, fresh
// batches and the backlog by their shares, lanes in turn), how many attempts a
// destination may have under way, which lanes are held back and until when, and when
// to ask for an outcome.
//
// All of it is memory. Its one lock is held for no disk, no network, no code of the
// caller's that may wait (a router, the handler of a log) and under no other lock.
// [Options].Order, and what is given to [Mirror.Answered], are called under it: they
// look into memory and take no lock.
// Nothing in it waits: whoever takes work from it waits for its signals, and owns
// the goroutine. It says nothing that is not true of batches that it was told of, and
// forgets all with the process: the ledger has what must last, and Open adds
// what it finds there.
//
// No call can fail. It does not decide what becomes of a batch, does not read or
// write the ledger, and does not know what a transport is beside the classes of its
// errors.
package live
