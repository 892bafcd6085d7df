// Package queued is the transport for queued ingestion: a batch is uploaded as
// one blob, and a message on an Azure queue, or a request over REST, asks the
// data management service to ingest it (protocol reference sections 3 to 7).
//
//	cred, err := azidentity.NewDefaultAzureCredential(nil)
//	...
//	client, err := queued.NewClient("https://ingest-cluster.region.kusto.windows.net", cred, nil)
//	...
//	spool, err := engine.Open(dir, client, nil)
//
// # Promise
//
// One Send has at most one message or request posted that can be taken. The post is one HTTP attempt,
// without redirects: a reply of success is Accepted; no connection, or a refusal,
// means that the batch was not accepted; everything else (a lost reply, a
// 5xx, a timeout) is Unknown. With [ingest.ExactlyOnce] the message carries
// the tag "ingest-by:<batch id>" and ingestIfNotExists from the first attempt,
// so that the service skips a repeat.
//
// The blob's name is a function of the batch, and so are its bytes before
// compression. It is committed only when every byte of the payload was read,
// and becomes visible at once or not at all. A later attempt finds it by its
// ETag and does not send it again, and goes on with an upload that broke off,
// in this process or in the next. Memory for one Send is bounded by a
// constant (about 10 MiB), whatever the batch's size, and so is not its time: an
// upload goes on for as long as blocks arrive ([ClientOptions].MinRate).
//
// Messages are built when they are sent. Progress, which goes to disk, names
// account, container and blob; no SAS and no token is in it, in an error, or
// in a log.
//
// # Outcomes
//
// For a batch of [ingest.ConfirmIngested] a row of the cluster's status table
// is inserted before the message, with the batch id as its partition and a row
// key for each attempt, so that a repeat does not overwrite what the service
// said of an earlier one. [Client.Track] reads the rows; an attempt after an
// unknown one reads them first, and posts nothing if the batch is in. The rows
// stay in the table, as those of every client do.
//
// [ClientOptions].Outcomes can name the cluster's report queues instead of the
// table: all clients of a cluster share them, so it is a choice between looking
// at their heads only, which may miss a report ([PeekReports]), and taking all
// of them, which nobody else then sees ([TakeReports]). The message then asks
// for both outcomes there. A report names the batch and not the attempt: a
// success is the batch's, and a failure counts if it was reported after the
// latest message was posted. An attempt after an unknown one does not look
// there first: the tag decides about it. A batch whose outcome was asked for in
// one place is not found in the other, after the choice was changed.
//
// A batch that was submitted over REST is one tracked operation, whose id is
// noted as soon as the reply is there; Track asks for its state. An attempt
// whose reply was lost has no id and stays unknown: the tag decides about its
// repeat. Which of the two ways is taken is [ClientOptions].Protocol; a batch
// may have attempts of both kinds, and the outcome is judged from all of them.
// To ask for an operation takes the role User of the database beside that of an
// Ingestor. Auto finds out whether it may ask before it chooses REST, and REST
// before it sends. Where the role is taken away later, the verdict is Unknown:
// the engine waits for its grace and sends the batch again, under its tag.
//
// Batches without tags, of one table and equal properties, that are on their way
// over REST at the same time go in one request, up to 20 of them, as the API
// allows; each is a blob with an outcome of its own. A tag of its own is a
// request's and not a blob's, so exactly-once batches go alone. So does what was
// sent before, and what was refused in company.
//
// A batch of [ingest.ConfirmAccepted] has no row, and neither has any batch
// on a queue where the cluster names no status table: they are answered with
// [ingest.HandedOver], for nobody will ever tell. A status table out of reach
// holds deliveries up, because an outcome that cannot be learned would
// have to be guessed.
//
// # Blobs by reference
//
// A batch of [ingest.Properties.ByReference] is not uploaded: the message names
// the blob where it is, with what [ClientOptions].BlobSecret gives for it on
// this attempt, or with the access that its URI names. The secret is in the
// message and nowhere else. Where the raw size is not known storage is asked
// once an attempt (HEAD): the size in the blob's metadata, or its length,
// eleven times that where the name says compressed, as the official clients
// guess; [ClientOptions].SkipBlobProbe leaves it out. A blob that the service
// does not find is Permanent; one that it may not read is Held.
//
// # What it does not do
//
// It does not use the lake folders of the REST API.
//
// It retries nothing but the requests of an upload. It starts no
// goroutine that outlives a call. It does not create tables or mappings.
package queued
