// Package budget bounds what transports put on a link: bytes a second, bytes a
// day or a month, and the hours in which any may pass.
//
// # Promise
//
// Bytes are counted where they pass, at the connection, below TLS and in both
// directions. What a [Meter] has counted never exceeds the budget of a day or a
// month, whatever ends the process: before bytes pass they are reserved in a file,
// at most [Reservation] at a time, and the file is synced. A clean [Meter.Close]
// gives back what is left of a reservation; a kill loses it. Days and months are
// of UTC. The count knows the latest period that it has seen, so that a clock that
// is set back reopens none; it goes on when the clock has come by again.
//
// While nothing may pass, a request is refused before it has a connection, and a
// connection in use ends. The transports report that as [transport.Throttled] with
// the time until it is over, at most an hour at a time: batches wait, and an
// upload goes on with the block at which it stopped. A request that begins with
// less than 64 KiB left of a period, or a tenth of its budget, is refused, so
// that one that has begun can end.
//
// # Failure
//
// A file that cannot be read or written lets nothing pass. One that is damaged
// counts as the day and the month used up; what was in it is lost. [Meter.Check]
// says so, and deleting the file begins with an unused budget.
//
// # What it does not do
//
// It does not see what is below the connection (headers of TCP and IP, what is
// sent again, names that are looked up), nor what a credential does by itself to
// get its token, nor what one process does beside another: the file has one
// owner, who has its lock.
package budget
