package kusto

import (
	"strings"

	"kustospool/ingest"
	"kustospool/transport"
)

// Outcome is what a report of the service means for a batch. The zero Outcome
// says nothing yet: wait on.
type Outcome struct {
	State ingest.State    // Succeeded, Skipped, Accepted, DeadLettered (failed; see Class), or 0
	Class transport.Class // of a failure
}

// The outcomes of failure codes.
var (
	waits     = Outcome{}
	skipped   = Outcome{State: ingest.Skipped}
	again     = failed(transport.Transient)
	held      = failed(transport.Held)
	malformed = failed(transport.Malformed)
	permanent = failed(transport.Permanent)
)

func failed(c transport.Class) Outcome { return Outcome{State: ingest.DeadLettered, Class: c} }

// codes is section 12 of the protocol reference as data, with the judgement
// of this engine. An outage is not poison: only an error about this payload
// dead-letters. In particular:
//
//   - malformed: the bytes are at fault, or there are too many of them; halves
//     can do better. An empty or recordless blob is in this group as well: one
//     bad record can hide the others' format.
//   - held: somebody can mend it at the service (a table, a mapping, a right,
//     a policy, a quota), or the service did not understand a message that is
//     made anew on every attempt. The lane waits.
//   - permanent: the batch's own properties are at fault. They never change,
//     so waiting cannot help.
//   - again: nothing is wrong with the batch. What the service could not
//     download is uploaded again with a fresh SAS; where the blob is gone
//     because it was ingested, the tag skips the repeat.
//   - skipped: the rows are there.
//
// transient marks the codes that the documentation calls transient: the
// service repeats those by itself, for up to 48 hours, unless FailureStatus
// says that it gave up.
var codes = map[string]struct {
	outcome   Outcome
	transient bool
}{
	// BadFormat
	"Stream_WrongNumberOfFields":                  {malformed, false},
	"Stream_ClosingQuoteMissing":                  {malformed, false},
	"BadRequest_InvalidBlob":                      {malformed, false},
	"BadRequest_EmptyArchive":                     {malformed, false},
	"BadRequest_InvalidArchive":                   {malformed, false},
	"BadRequest_InvalidMapping":                   {held, false},
	"BadRequest_InvalidMappingReference":          {held, false},
	"BadRequest_FormatNotSupported":               {permanent, false},
	"BadRequest_InconsistentMapping":              {held, false},
	"BadRequest_UnexpectedCharacterInInputStream": {malformed, false},
	// BadRequest
	"BadRequest_EmptyBlob":                                  {malformed, false},
	"BadRequest_InvalidOrEmptyBlob":                         {malformed, false},
	"BadRequest_NoRecordsOrWrongFormat":                     {malformed, false},
	"BadRequest_EmptyBlobUri":                               {held, false},
	"BadRequest_InvalidBlobUri":                             {held, false},
	"BadRequest_UriMissingSas":                              {held, false},
	"BadRequest_DuplicateMapping":                           {permanent, false},
	"BadRequest_InvalidOrEmptyTableName":                    {permanent, false},
	"BadRequest_EmptyDatabaseName":                          {permanent, false},
	"BadRequest_EmptyMappingReference":                      {permanent, false},
	"BadRequest_EntityNameIsNotValid":                       {permanent, false},
	"BadRequest_MissingMappingtFailure":                     {held, false},
	"BadRequest_MissingJsonMappingtFailure":                 {held, false},
	"BadRequest_InvalidCsvMapping":                          {held, false},
	"BadRequest_InvalidJsonMapping":                         {held, false},
	"Download_BadRequest":                                   {again, false},
	"Stream_NoDataToIngest":                                 {malformed, false},
	"Stream_DynamicPropertyBagTooLarge":                     {malformed, false},
	"General_BadRequest":                                    {permanent, false},
	"BadRequest_CorruptedMessage":                           {held, false},
	"BadRequest_SyntaxError":                                {permanent, false},
	"BadRequest_ZeroRetentionPolicyWithNoUpdatePolicy":      {held, false},
	"BadRequest_CreationTimeEarlierThanSoftDeletePeriod":    {permanent, false},
	"BadRequest_NotSupported":                               {permanent, false},
	"Download_SourceNotFound":                               {again, false},
	"BadRequest_MalformedIngestionProperty":                 {permanent, false},
	"BadRequest_IngestionPropertyNotSupportedInThisContext": {permanent, false},
	"BadRequest_NonMultiDatabaseDataConnection":             {held, false},
	"BadRequest_DataCapacityLimitReached":                   {held, false},
	"BadRequest_InvalidManagedIdentity":                     {held, false},
	"BadRequest_NoValidResponseFromEngine":                  {again, false},
	"BadRequest_MessageExhausted":                           {again, false},
	// DataAccessNotAuthorized
	"Download_AccessConditionNotSatisfied": {again, false},
	"Download_Forbidden":                   {again, false},
	"Download_AccountNotFound":             {again, false},
	"BadRequest_TableAccessDenied":         {held, false},
	"BadRequest_DatabaseAccessDenied":      {held, false},
	"BadRequest_InvalidAuthentication":     {held, false},
	// DownloadFailed
	"Download_NotTransient":                   {again, false},
	"Download_UnknownError":                   {again, true},
	"Download_TransientNameResolutionFailure": {again, true},
	// EntityNotFound
	"BadRequest_MappingReferenceWasNotFound": {held, false},
	"BadRequest_DatabaseNotExist":            {held, false},
	"BadRequest_TableNotExist":               {held, false},
	"BadRequest_EntityNotFound":              {held, false},
	// FileTooLarge: halves fit where the whole does not.
	"Stream_InputStreamTooLarge": {malformed, false},
	"BadRequest_FileTooLarge":    {malformed, false},
	// InternalServiceError
	"General_InternalServerError":     {again, true},
	"General_TransientSchemaMismatch": {again, true},
	"General_AbandonedIngestion":      {again, false},
	"Timeout":                         {again, true},
	"OutOfMemory":                     {again, true},
	"Stream_LowMemoryCondition":       {again, true},
	"Schema_PermanentUpdateFailure":   {held, false},
	// UpdatePolicyFailure: the policy is the operator's, not the payload's.
	"UpdatePolicy_QuerySchemaDoesNotMatchTableSchema":               {held, false},
	"UpdatePolicy_FailedDescendantTransaction":                      {again, true},
	"UpdatePolicy_IngestionError":                                   {again, true},
	"UpdatePolicy_UnknownError":                                     {again, true},
	"UpdatePolicy_Cyclic_Update_Not_Allowed":                        {held, false},
	"UpdatePolicy_BadRequest":                                       {held, false},
	"UpdatePolicy_Transactional_Not_Allowed_In_Streaming_Ingestion": {held, false},
	// UserAccessNotAuthorized: the identity token is fetched anew.
	"BadRequest_InvalidKustoIdentityToken": {again, false},
	"Forbidden":                            {held, false},
	// ThrottledOnEngine, RetryAttemptsExceeded
	"General_ThrottledIngestion":    {again, true},
	"General_RetryAttemptsExceeded": {again, false},
	// BlobAlreadyReceived: one copy is in.
	"BlobAlreadyReceived_BlobAlreadyFoundInBatch":        {skipped, false},
	"BlobAlreadyReceived_DuplicateEventGridNotification": {skipped, false},
	"Skipped_IngestByTagAlreadyExists":                   {skipped, false},
	"Unknown":                                            {again, true},
	"Misc":                                               {again, true},
}

// byLowerCode is codes with its keys in lower case: the spelling of codes
// differs between the documentation, the SDKs and the service.
var byLowerCode = func() map[string]string {
	m := make(map[string]string, len(codes))
	for code := range codes {
		m[strings.ToLower(code)] = code
	}
	return m
}()

// InvalidToken is the code for an identity token that has expired: the client
// fetches another before its next message.
const InvalidToken = "BadRequest_InvalidKustoIdentityToken"

// FailureOutcome says what a failed ingestion means for its batch: code is the
// report's ErrorCode, status its FailureStatus by name or number (protocol
// reference sections 6.1 and 12).
//
// Transient means that the service repeats by itself: no outcome, whatever the
// code. Exhausted means that it gave up: the batch is sent again, unless the
// code is about the bytes. A code that is not in the table goes by its status.
func FailureOutcome(code, status string) Outcome {
	c, known := codes[byLowerCode[strings.ToLower(strings.TrimSpace(code))]]
	if known && c.outcome == skipped {
		return skipped
	}
	switch strings.ToLower(strings.TrimSpace(status)) {
	case "transient", "2":
		return waits
	case "exhausted", "3":
		if known {
			return c.outcome
		}
		return again
	case "permanent", "1":
		if known {
			return c.outcome
		}
		return permanent
	}
	switch {
	case known && c.transient:
		return waits
	case known:
		return c.outcome
	}
	// Failed, and neither code nor status says for how long. To send it again
	// loses nothing; to dead-letter it could be wrong.
	return again
}

// StatusOutcome says what a row of the status table means for its batch
// (protocol reference section 6.1).
//
// PartiallySucceeded is a permanent failure: some rows are in, so the service
// would skip a tagged repeat and double an untagged one; the payload goes to
// the dead letters for an operator to compare. Queued means that the service
// took the message and tracks nothing: Accepted is the last that is ever said.
// Skipped is as good as Succeeded (the tag was there), unless its code says
// that there was nothing to ingest.
func StatusOutcome(status, code, failureStatus string) Outcome {
	switch strings.ToLower(status) {
	case "succeeded":
		return Outcome{State: ingest.Succeeded}
	case "skipped":
		if c, known := codes[byLowerCode[strings.ToLower(code)]]; known && c.outcome == malformed {
			return malformed
		}
		return skipped
	case "failed":
		return FailureOutcome(code, failureStatus)
	case "partiallysucceeded":
		return permanent
	case "queued":
		return Outcome{State: ingest.Accepted}
	}
	return waits
}
