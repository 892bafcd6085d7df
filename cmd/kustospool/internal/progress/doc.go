// Package progress shows on one line how far a run is.
//
// # What it promises
//
// On a terminal the line is painted over and over and always fits: its width
// is asked for at each paint, and the last column stays free, so that nothing
// wraps at any width from a few columns up. Whatever else is written through
// the same [Screen] takes the line away first. Elsewhere (a pipe, a file, a
// terminal that calls itself dumb) the same text is a plain line now and then.
// There is colour on a terminal only, and none where NO_COLOR is set.
//
// A rate is that of the last half minute and is not shown in the first second;
// time left is shown only where the rate gives one, so a stall shows neither
// zero seconds nor a rate of the distant past.
//
// Words of the service are shown as one line of plain text: no markup, no
// control characters, no ids of requests, which change with every attempt.
//
// # Failure
//
// A line that cannot be written is no reason to stop a run: errors of the
// line's own writes are dropped. Those of [Screen.Write] are the caller's.
//
// # What it does not do
//
// It starts no goroutine and reads no clock but the one that it is given: who
// shows progress decides when.
package progress
