// Package netfault breaks HTTP for tests, below the client that is tested: it
// answers while a request's body is still being sent, or before a byte of it
// was read, closes half of a connection, never reads, lets bytes through one
// by one, or resets at a chosen byte.
//
// A [Set] holds the faults in force and chooses the requests they strike, by
// method, path, predicate and count. Two things obey a set:
//
//   - [RoundTripper] wraps an [http.RoundTripper] and keeps to the letter of its
//     contract, which lets a transport read and close a request's body after
//     RoundTrip has returned: it does so, always, and later than most callers
//     think. It needs no socket, so it works in a testing/synctest bubble.
//   - [Proxy] is a TCP proxy on a loopback port before a real server, so the
//     client's own net/http meets the fault. It reads heads of HTTP/1 requests
//     to choose, and passes every byte on as it came. It also is a link: with
//     so many bytes a second, up and down by a schedule or by hand.
//
// A [Dialer] is a slow link without faults at the client's end, with a rate and a
// latency, for clients that talk to several servers.
//
// What is deterministic: which request is struck, and how many bytes of its
// body were taken before. What is not: how many more bytes the client had
// already handed to the kernel, and whether a client sees a reply that a reset
// follows ([ThenReset]).
//
// All have a Close that joins their goroutines. TLS, HTTP/2 and pipelined
// requests are not understood; a proxy breaks the connection of a head that it
// cannot read.
package netfault
