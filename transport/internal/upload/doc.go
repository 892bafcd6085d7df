// Package upload puts a batch's payload into a container that the service
// lends: what queued and direct ingestion have in common.
//
// # Promise
//
// The blob's name is a function of the batch ([Name]), and so are its bytes
// before compression. The blob is committed only when every byte of the
// payload was read, and becomes visible at once or not at all. An upload that
// an earlier attempt ended is found by its ETag and not repeated. Memory for
// one upload is bounded by a constant, about 10 MiB: two buffers of a block.
//
// # Going on
//
// A payload that fits in one block is one request. Any other goes in blocks,
// cut so that one takes about two seconds on the link at hand, 64 KiB to 4 MiB.
// A block is named by its number and a hash of its bytes. The journal keeps, in
// a few hundred bytes, the sizes of the first blocks that storage has
// acknowledged and a hash over them; it is written as often as a block takes a
// second, or every eighth block where it takes less. An attempt after a break,
// or in the next process, makes the same bytes again, compares, and sends what
// is missing. What storage itself tells of its blocks is used where the
// signature allows to ask, and not needed. Where the blocks, their container or
// the bytes are not what they were the upload begins again, and is counted
// ([Uploader.Figures]); a block list that storage refuses is an error that says
// so.
//
// # Memory that is lent
//
// net/http may read a request's body after the call has returned, when a service
// answers in the middle of it. So a buffer goes out by [kusto.Body], whose
// readers copy under a lock and are cut off when the call is over, and only then
// is used again. The other things that are used again here cannot be read late:
// a compressor writes to memory and is read in the caller's goroutine only, and
// Pack fills its writer before it returns.
//
// # Failure
//
// The payload's own error comes back wrapped and unclassified; every other
// error is a *[transport.Error] without a SAS in it. A request of an
// upload is retried, briefly; one of an upload of which a block has arrived, for
// as long as StallTimeout without another. Up to three containers are tried,
// but not instead of one that has a part of the upload, unless that is gone, or
// takes nothing for three attempts while others can be reached.
//
// # What it does not do
//
// It starts no goroutine that outlives a call, and deletes no blob.
package upload
