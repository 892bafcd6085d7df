// Package transporttest tests transports, and what uses them.
//
// [Run] is the conformance suite: what package transport demands of every
// [transport.Transport], as subtests over a [Harness] that makes destinations
// and can look into them. Run it for your own transport. A passing suite says
// that no record was lost or doubled over the faults which the harness can
// inject; hooks that a harness leaves nil take their cases out of the run,
// with a skip that names the hook. Target.Breaks takes what
// internal/testutil/netfault does to requests on their way.
//
// [Fake] is the other side: a scripted transport in memory for the tests of an
// engine. It records every Send, keeps tables that honour exactly-once, and
// reports an engine that breaks its own duties (two attempts of one batch at
// once, a batch that changed).
//
// [Payload] and [Journal] are the doubles that a delivery is made of.
//
// The package is test infrastructure: it is never imported by a production
// package. It writes nothing to disk, and neither Run nor Fake leaves a
// goroutine behind.
package transporttest
