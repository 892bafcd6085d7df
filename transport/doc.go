// Package transport is the plug between the engine and a destination.
//
// # Where to begin
//
// To deliver to Kusto take one that is there: package queued, direct, managed or
// dir, and route for several. To write one, implement [Transport]: Send and
// Capabilities. [Tracker] is for destinations that tell an outcome later, [Gauged]
// for figures, [Router] for several destinations; the engine looks for each.
// [Delivery] is what Send gets, [Ack] or an [Error] of some [Class] what it
// returns. Package engine has an example (ownTransport).
//
// # What a transport must do
//
// [Transport.Send] is one bounded attempt to hand one sealed batch over. It
// classifies what went wrong with an [Error] and returns; the engine alone
// decides when the next attempt is. In particular a transport never repeats
// the step after which the destination may ingest (an enqueue, a command, a
// file's final name): a reply that is lost there is [Unknown], and it is the
// engine that keeps the books on it. Steps that can be repeated without effect,
// such as the upload of a blob under its fixed name, may be retried inside
// the attempt, briefly, or for as long as they get on.
//
// An attempt has a time (engine.Options.AttemptTimeout). An upload takes the time
// that the link needs, so a transport tells of each part that has arrived
// ([Delivery.Moved]), and the time begins again. It bounds for itself how long an
// upload stands still, and keeps in its progress what has arrived, so that the
// next attempt goes on from there.
//
// Before each remote side effect the transport writes its intent through the
// [Journal]; the call returns when the intent is on stable storage. After a
// crash the next attempt gets the last intent back in [Delivery.Progress].
// [Journal.Note] precedes a step that cannot make rows appear, [Journal.Commit]
// the one that can. A crash after Note leads to a new attempt; a crash after
// Commit leads to the state unknown and to its resolution. Progress must not
// hold a secret (SAS, token, key): it is written to disk. Secrets are put in
// when the request is made.
//
// A batch never changes. Its id, name at the destination, tag and bytes are
// the same on every attempt, so a transport can and must be idempotent by name
// where the destination allows it. With [ingest.ExactlyOnce] a transport must
// make the destination skip a repeat, or refuse the batch (Capabilities).
//
// A batch of [ingest.Properties.ByReference] has the address of a blob as its
// payload ([ingest.ParseBlob]) and no secret with it. A transport that can have
// the blob ingested where it is says so (Capabilities.Blobs) and takes the
// secret from its own caller; any other refuses such a batch as Permanent,
// because the address is not the data.
//
// # What a transport must not do
//
// Start goroutines that outlive a call, log, keep a batch's payload, use memory
// again that a request under way may still be reading (net/http reads a body
// after the call has returned, when the reply came early), or
// return an error whose text holds a secret. The engine calls Send for
// different batches at the same time, never twice at once for one batch.
//
// # What a transport may get wrong
//
// The engine survives a panic, runtime.Goexit and answers without sense in every
// call that it makes, through [Guard] and [Classify]. It cannot guard goroutines
// that a transport starts within a call: what those call of somebody else's (a
// credential, an HTTP client) goes through Guard there. A Journal is good for its
// own attempt and refuses what comes later.
//
// transporttest is the conformance suite; run it for your own transport.
package transport
