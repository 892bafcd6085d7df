// Package lifecycle decides what becomes of a batch. [Decide] is a pure
// function: given the batch's row and an event it answers with the new row and
// with what the engine must do now. It has no clock, no I/O and no lock, and
// all that it knows stands in one table, [Life].
//
// The engine delivers every event of a batch to Decide, has the store make the
// new row durable by compare-and-set, then carries out the effects. Two come
// first: [SetAside] writes the dead letter's files before the row, and with [Later]
// nothing is written until the next event; one write then holds both. A crash
// between finds the older row, which is safe because nothing has left. Sealing makes
// the row itself, in the store: its rule, on [Filled], says what state the new batch
// has and that it waits for its turn. No other code changes a batch; a test of the
// engine looks for some.
//
// When Decide fails, the event does not fit the state of the batch: a mistake
// of the caller's. Nothing is changed then.
//
// The package does not know when to try again, where a batch goes, or how a
// destination is: those belong to the dispatcher. The test of this package
// walks through every state that two batches, a destination that loses and
// repeats its answers, and crashes can reach with the table.
package lifecycle
