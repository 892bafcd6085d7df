// Package port opens a port of the simulator and serves HTTP on it.
//
// # Promise
//
// [Listener.Close] returns when the port, its connections and their goroutines
// are gone. A port that refuses connections comes back at the same address.
//
// # Failure
//
// A port that cannot be had is an error of [Listen]. One that another process
// took while it was refused stays closed after a second of attempts.
//
// # What it does not do
//
// It speaks no TLS and knows neither services nor faults. [Drain] and [HangUp]
// are for handlers that end a request before its body does.
package port
