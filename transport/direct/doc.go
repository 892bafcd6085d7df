// Package direct is the transport for direct ingestion: commands and streams
// that the engine endpoint carries out at once, without the data management
// service between (protocol reference sections 8 and 9).
//
//	client, err := direct.NewClient("https://cluster.region.kusto.windows.net", cred, nil)
//	...
//	spool, err := engine.Open(dir, client, nil)
//
// # Promise
//
// [Client] uploads a batch as one blob and runs one `.ingest into` command for
// it, in one HTTP attempt. With [ingest.ExactlyOnce] the command carries the
// tag "ingest-by:<batch id>" and ingestIfNotExists from the first attempt, so
// that the service skips a repeat. Before the command is sent, its client
// request id is in the Journal. An attempt after one of unknown outcome first
// asks the cluster: the log of commands by request id, and the table's extents
// by tag. Nothing is sent where the batch is found. [Client.Track] asks the
// same for the engine.
//
// The role Ingestor is enough. It sees its own commands in the log, and not the
// table's extents: a batch with a tag that is not found in the log is then sent
// again under its tag, after a definite refusal at once and after an unknown
// outcome when the engine's UnknownGrace is over; so is one without a tag where
// the log is forbidden too, and the engine counts possible duplicates. With the
// role Viewer, User or Monitor as well the extents are asked.
//
// With [ClientOptions].Async the command answers with an operation, whose id is
// in the Journal before anything else is done, and Track asks for its state. A
// reply that is lost names no operation; the request id finds the command in
// the log once it has ended, and a tagged batch is found by its tag. A batch
// larger than MaxBlobBytes goes as several blobs in one command, which is one
// operation and one tag.
//
// With [ClientOptions].Inline the data travels in the command itself, for
// clusters without storage of their own (a free cluster, the container).
//
// A batch by reference is not uploaded: the command, async or not, names the
// blob where it is, with what [ClientOptions].BlobSecret gives for it.
//
// No more commands are under way than a share of the cluster's capacity for
// ingestions, which is asked for every minute. A refusal for want of capacity
// halves the number, and every command that passes raises it slowly again up
// to that share. [Client.Capacity] shows the figures. The limit is one
// client's, or one [Limit]'s that several clients of a cluster share; another
// process has its own, and refusals make both give way.
//
// No name, mapping, tag or other property can break out of its place in a
// command: each is one literal with everything that ends one escaped. The
// blob's address is an obfuscated literal, so that the cluster logs no SAS.
//
// [StreamingClient] posts a batch of at most 4 MiB, before compression, as a
// stream. The service takes 6 requests per core at the same time (protocol
// reference section 9.2) and counts the rows that update policies add towards
// the 4 MB; engine.Options.Senders bounds how many this client has. It is
// at-least-once: a stream has no tag and no id, so a repeat after a lost reply
// may double its rows. It says so ([transport.Capabilities]) and refuses
// batches of exactly-once tables.
//
// # Failure
//
// A lost reply, a 504, a 520 or any other 5xx to a command is Unknown. A 429
// is Throttled. An operation that ends as throttled, failed, canceled or
// abandoned is a failed verdict; one that succeeded in part is Permanent, since
// a repeat would be skipped, or double the part. What concerns a table, a mapping or a right is Held; only an
// error about the bytes or the batch's own properties is Malformed or
// Permanent.
//
// # What it does not do
//
// It starts no goroutine that outlives a call, deletes no blob (the service
// does, after its retention), and creates no table. Two attempts at one batch
// can be under way at the service at the same time only after the first was
// looked for in vain for as long as the engine's UnknownGrace.
package direct
