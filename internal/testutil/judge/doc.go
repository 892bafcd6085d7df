// Package judge holds official clients of Kusto against the simulator: what a
// client is told to send, what the simulator must then hold, and the TLS front
// that clients want to talk to.
//
// A [Set] is data in three formats and what the service's documentation says
// becomes of it in a table of every scalar type: bounds, nulls and missing
// values, escapes, characters outside the basic plane, and the other spellings
// that a type may have. [Set.Diff] compares value by value, each as its type
// compares: numbers exactly, datetimes and timespans to the tick, dynamic
// values as JSON. What it expects is written down beside the data and is not
// computed from it.
//
// A [Front] is how the simulator looks from outside: https, with the account
// in the host's name, as in the cloud. It changes no request and no reply, and
// where the simulator hangs up, so does it. Clients trust its certificate
// because they are told to; it listens on loopback, and the client that it
// makes can dial nothing else.
//
// The judges are the tests of internal/testutil/nodeclient and of the module
// internal/testutil/goclient. The package does not judge what a service does
// that the documentation does not tell; docs/simulator.md lists that.
package judge
