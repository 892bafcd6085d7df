// Package plug stands between the engine and what a caller has plugged into it: the
// transport, the handler of the log, a reader. Every call into one is made here, so that
// nothing that it does ends the process, a lane or a goroutine of the engine's: a
// panic, the end of its goroutine, a nil pointer as an error, an answer that nobody
// asked for or that makes no sense. What comes out is plain: errors of the engine's own
// types, without anything in them that is called later, and verdicts that can be relied on.
//
// A call that never returns is waited for. An attempt that goes on after its time
// cannot be given up without two being in flight; see NotClosedError of the engine. What
// no guard reaches is a panic in a goroutine that a plug has started itself.
//
// The package decides nothing: when to send, what a failure means for a batch, and what
// is written to the ledger are the engine's.
package plug
