// Package kustosim is a simulated Azure Data Explorer (Kusto): the data
// management (DM) and engine endpoints, Azure blob, queue and table storage
// over HTTP, and an ingestor that takes the messages, aggregates, honours
// tags, parses, keeps rows and reports. It exists so that a duplicate or a
// loss shows up as a wrong row count, and is what `kustospool sim` runs.
//
// # Promise
//
// What a client is told was accepted is ingested as often as it was accepted,
// no less and no more: a message posted twice gives its rows twice, unless
// tags or the aggregation's own check for a repeated blob stop it. The
// ingestion of one blob is atomic: its rows and its extent with the tags
// appear together or not at all. Nothing is retried, dropped or doubled behind
// the caller's back; faults do that, and they are counted.
//
// A blob is checked against ingestIfNotExists before it is downloaded.
// Ingestions run one after the other, so that no other commit comes between
// the check and its own; the service does not say whether that holds for it.
//
// # Rooms
//
// This package is the door: [Start], [Options], the methods of [Sim], and names
// for what tests use of the rooms. The rooms are under internal, know only what
// the layering test lets them, and none of them knows the door, which wires
// them (wire.go): lex, parse, catalog, stats, port, fault, storage, ingestor,
// reply, mgmt, endpoint, control. Each says in its package comment what it
// promises and what it leaves to others.
//
// # Surfaces
//
// One port is the Kusto endpoint, DM and engine in one:
//
//	GET  /v1/rest/auth/metadata      404, or Options.Metadata
//	POST /v1/rest/mgmt               .get|.show ingestion resources, .get kusto identity token,
//	                                 .show version|tables|databases,
//	                                 .create[-merge] table T (..) [with (folder='', docstring='')],
//	                                 .create[-or-alter] table T ingestion KIND mapping 'M' '[..]',
//	                                 .drop table T,
//	                                 .show table T extents [where tags has|contains '..'],
//	                                 .ingest [async] into table T (h'uri', ..) [with (..)],
//	                                 .ingest inline into table T [with (..)] <| data,
//	                                 .show commands [| where ClientActivityId == '..' or in (..)],
//	                                 .show operations [(id, ..)], .show capacity ingestions,
//	                                 .show queued ingestion operations 'id' [details],
//	                                 .alter table T policy streamingingestion enable|disable|'{..}'
//	                                 .alter table T policy ingestionbatching '{..}'
//	POST /v1/rest/ingest/{db}/{table}  streaming ingestion, at most 4 MiB raw; with sourceKind=uri of a blob
//	POST /v1/rest/query, /v2/..      T, T | count, T | take n; v2 also in fragments with lines between
//	GET  /v1/rest/ingestion/configuration              containers, limits, Options.PreferredIngestion
//	POST /v1/rest/ingestion/queued/{db}/{table}        at most 20 blobs
//	GET  /v1/rest/ingestion/queued/{db}/{table}/{id}   ?details=true; a tag hit is told as Succeeded
//	                                                   with its code, for the service's form is unknown
//	GET  /sim/rows?db=&table=        the rows as JSON lines; the paths under /sim/ are never
//	                                 faulted, and want the token of an Admin where there are tokens
//	GET  /sim/stats                  the counters as JSON
//	POST /sim/faults?host=&kind=..   a fault on requests; with db= and table= instead of host= one on ingestions
//	DELETE /sim/faults               removes those
//	POST /sim/age/{what}             makes sas, tokens or resources old; tags, extents and merge of ?db=&table=
//
// With [Options].Token or Principals the endpoint wants a bearer token, 401,
// and the [Role] that a request needs, 403; docs/simulator.md lists which. Of
// .show commands and .show operations everybody sees what is one's own.
//
// Each storage account has a port for blobs, one for queues and one for
// tables, path style: http://127.0.0.1:port/account/container/blob?SAS, unless
// [Options].StorageURL names a front before it. They
// serve what the Azure SDKs need: Put Blob, Put Block, Put Block List, Get Block List, Get,
// Head and Delete with If-Match, If-None-Match and ranges; Put, Get, Peek and
// Delete Messages; Insert, Merge, Replace, Get, Query and Delete Entity. SAS
// are real: signature, start and end and permissions are checked. With
// [Options].Storage the same ports pass everything on to an existing account,
// such as Azurite.
//
// A blob that a client names by reference is read with the SAS in its URI, with
// an access that stands behind a semicolon and is one of Options.BlobAccess, or,
// from a web server of Options.BlobHosts, as it is.
//
// # Browsers
//
// Every port refuses with 403 what a web page of another site makes a browser
// send: requests with a Host or an Origin that is neither of loopback nor of
// [Options].Hosts, or with Sec-Fetch-Site: cross-site. Bodies are bounded, and so
// is what compressed data may become: 200 times its size, and always 64 MiB.
//
// # Faults
//
// [Sim.Fault] strikes requests by host: connection refused, closed, request
// or reply dropped, 4xx and 5xx with the service's body (also in the middle of a request), slow, stalled.
// [Sim.IngestFault] strikes ingestions: transient, exhausted or permanent
// failure, before or after the commit; pending for ever; held; delivered
// twice; not reported; with a row lost or a value altered. [Sim.Rotate], [Sim.ExpireSAS], [Sim.ExpireTokens] and
// [Sim.DropTag] age what clients hold. [Sim.Wait] waits for an effect without
// sleeping.
//
// # Errors of ingestion
//
// The codes below come from the ingestor by itself; a fault can report any
// other. All are permanent but the last three.
//
//	BadRequest_CorruptedMessage                 not base64, not the JSON of a message, Id no GUID
//	BadRequest_EmptyBlobUri                     BlobPath is empty
//	BadRequest_InvalidBlobUri                   BlobPath is no URI
//	BadRequest_EmptyDatabaseName                DatabaseName is empty
//	BadRequest_InvalidOrEmptyTableName          TableName is empty
//	BadRequest_InvalidKustoIdentityToken        authorizationContext missing, foreign or expired
//	BadRequest_DatabaseNotExist                 no such database
//	BadRequest_TableNotExist                    no such table
//	BadRequest_FormatNotSupported               unknown format
//	BadRequest_MalformedIngestionProperty       tags, ingestIfNotExists (JSON arrays of strings), creationTime,
//	                                            validationPolicy, zipPattern, a flag, or the spelling of a mapping kind
//	BadRequest_MappingReferenceWasNotFound      no such mapping of the table
//	BadRequest_DuplicateMapping                 a mapping and a reference in one message
//	BadRequest_InvalidMapping                   not a mapping of its kind, or one of a column that the table does not
//	                                            have and that cannot be added
//	BadRequest_NotSupported                     a mapping that the service knows and the simulator does not
//	BadRequest_InconsistentMapping              a mapping of another kind than the format's
//	BadRequest_FileTooLarge                     RawDataSize over 6 GiB without IgnoreSizeLimit
//	BlobAlreadyReceived_BlobAlreadyFoundInBatch the blob stands twice in one sealed batch
//	Skipped_IngestByTagAlreadyExists            ingestIfNotExists hit; status Skipped, or Failed by option
//	Download_AccountNotFound                    the blob is of no account of the simulator
//	Download_SourceNotFound                     no such blob or container
//	Download_Forbidden                          the blob's SAS is bad, expired or does not allow reading
//	Download_BadRequest                         external storage refused the request otherwise
//	BadRequest_InvalidManagedIdentity           the URI names a managed identity that is none of Options.BlobAccess
//	BadRequest_EmptyBlob                        no bytes
//	BadRequest_InvalidBlob                      named .gz and not whole gzip; multijson that is not JSON objects
//	BadRequest_InvalidArchive                   named .zip and no archive
//	BadRequest_EmptyArchive                     an archive without a matching file
//	BadRequest_NoRecordsOrWrongFormat           bytes and no record
//	BadRequest_UnexpectedCharacterInInputStream json lines, by option
//	Stream_WrongNumberOfFields                  delimited records whose numbers of fields differ
//	Stream_ClosingQuoteMissing                  a csv field's quote never ends
//	Stream_InputStreamTooLarge                  raw data over Options.MaxBlobBytes, or out of proportion to the compressed data
//	Download_UnknownError                       transient: external storage did not answer
//	General_InternalServerError                 transient: by fault only
//	General_TransientSchemaMismatch             transient: a column was created meanwhile with another type
//
// # What it does not do
//
// It keeps everything in memory and loses it on Close. It listens on loopback
// only. An async .ingest has ended when its reply comes. There are no update
// policies, no extent merges, and no query language beyond the forms above. Avro, Parquet, ORC and the like become one row each with the
// digest of the blob. Of Azure storage there are no leases, snapshots, tiers,
// listings or table transactions. Batches seal after 50 ms and not after 5
// minutes, and transient failures are repeated after 20 ms without end.
package kustosim
