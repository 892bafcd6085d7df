// Package operate lets an operator ask a spool, and have it do things, from
// outside of the program that has it open.
//
// The program answers on a Unix socket, [Listen], with HTTP and JSON: a [Server]
// with the [Handler] of its spool. [Dial] gives a [Client], which is a [Spool] as
// well, so that whoever asks does not care whether the spool is in use or at rest.
// Package engine does all of it by default; see engine.Options.NoSocket.
//
// # The protocol
//
// HTTP/1.1 over the socket. Every path begins with /v1; a later protocol that is
// not the same gets another number, and members may be added to the objects of
// this one. GET reads and changes nothing. POST changes. The answer is one JSON
// object: that of the call, or {"error":{"code":...,"message":...}} with the
// status code of [Error].
//
//	GET  /v1/status    [Status]: counters, tables, batches, dead letters, troubles
//	GET  /v1/history   [History]: settled batches, the newest first
//	GET  /v1/peek      [Peek]: the records that wait, in the order in which they came
//	GET  /v1/receipt   [Receipt]: what became of the records of a receipt
//	POST /v1/pause     [Paused]: a table is not sent until it is resumed; body [PauseQuery]
//	POST /v1/resume    [Resumed]; body [TableQuery]
//	POST /v1/retry     [Retried]: a table is tried now; body [TableQuery]
//	POST /v1/check     [Check]: begins to read and prove all that the spool holds
//	GET  /v1/check     [Check]: how far it is, and in the end what it found
//	GET  /v1/dead          [DeadList]: the dead letters that wait
//	GET  /v1/dead/payload  [DeadPayload]: a piece of the records of one
//	POST /v1/dead/retry    [RetriedDead]: its records are stored again, or what that would do; body [RetryDead]
//	POST /v1/dead/drop     [DroppedDead]: it is deleted; body [DropDead]
//
// The query parameters are the fields of the query types, in their documentation.
// By hand:
//
//	curl --unix-socket DIR/socket http://spool/v1/status
//
// # What it promises
//
// Who may connect is who may read the spool's directory: the socket is 0600 and
// lies in that directory, which is 0700, or in one of the same kind, and where the system
// tells who has connected (Linux, macOS), any other user than the process's own
// and root is refused.
//
// The spool never waits for who asks. An answer is made whole, in memory of at most
// [MaxReply], before its first byte is written, and the write has a deadline. A
// request has at most [MaxRequest] bytes, and at most [MaxClients] are connected.
// No answer holds a secret.
//
// # Failure
//
// A socket that cannot be made, in the directory or elsewhere, is told to the
// log, and the spool works without it. One that a process left behind is
// replaced by the next.
//
// # How a route is added
//
// A subject has a file: its types, an interface that says what it asks of a spool,
// the routes, and the methods of [Client]. Its function of routes goes into the
// list subjects. Where not every spool can do it (one at rest, say), the interface
// stays out of [Spool], the handler asks for it with [powerOf], and who lacks it
// answers with the code "unsupported". Package engine implements it, in its
// own types, for both kinds of spools.
//
// # What it does not do
//
// It does not read a spool by itself, knows no transport, and is no way to
// ingest. It is not for a network: there is no encryption and no password.
package operate
