// Package route is the transport of a spool whose tables go different ways:
// some queued, some by direct commands, some streamed, some into a directory.
//
//	router, err := route.New(route.Options{
//		Transports: map[string]transport.Transport{"queued": q, "direct": d},
//		Default:    "queued",
//		Tables:     map[route.Table]string{{Database: "Fleet", Name: "Alarms"}: "direct"},
//	})
//	spool, err := engine.Open(dir, router, nil)
//
// # Promise
//
// A batch is begun by the transport that the rules name for its table. From
// the moment after which rows may appear until it is known that none did, the
// batch belongs to that transport, across restarts and whatever the rules say
// by then: only it can find out what became of the attempt, and a repeat by
// another one could double the rows. The name of the transport is durable in
// the batch's progress before the effect. A batch that was not begun, was
// uploaded only, or was refused for certain goes by the rules of today. So the
// rules may change at every start of the program, with batches in any state.
//
// The names of transports are on disk. Renaming one is taking it away.
//
// For each table the capabilities are those of its transport: an engine
// refuses a table that wants exactly-once where the rules lead to a transport
// that cannot keep it.
//
// # Failure
//
// Errors are those of the transport that made the attempt. A batch that belongs
// to a transport which is not configured any more is Held, or stays unknown or
// accepted, with an error that names the transport; it goes on when that name
// is configured again. Nothing is lost or doubled meanwhile.
//
// # What it does not do
//
// It does not try a second transport when the first one fails: see
// [kustospool/transport/managed] for that. It starts no goroutine that outlives
// a call. It does not know whether two names lead to the same cluster.
package route
