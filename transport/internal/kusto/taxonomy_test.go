package kusto

import (
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// The documented table of ingestion error codes (protocol reference section
// 12), written down a second time by what each must do when it is final. T
// marks the ones documented as transient.
const documented = `
malformed Stream_WrongNumberOfFields Stream_ClosingQuoteMissing BadRequest_InvalidBlob BadRequest_EmptyArchive
malformed BadRequest_InvalidArchive BadRequest_UnexpectedCharacterInInputStream BadRequest_EmptyBlob
malformed BadRequest_NoRecordsOrWrongFormat Stream_NoDataToIngest Stream_DynamicPropertyBagTooLarge
malformed Stream_InputStreamTooLarge BadRequest_FileTooLarge BadRequest_InvalidOrEmptyBlob
held BadRequest_InvalidMapping BadRequest_InvalidMappingReference BadRequest_InconsistentMapping
held BadRequest_EmptyBlobUri BadRequest_MissingMappingtFailure BadRequest_CorruptedMessage BadRequest_InvalidBlobUri
held BadRequest_ZeroRetentionPolicyWithNoUpdatePolicy BadRequest_NonMultiDatabaseDataConnection
held BadRequest_DataCapacityLimitReached BadRequest_InvalidManagedIdentity BadRequest_TableAccessDenied
held BadRequest_DatabaseAccessDenied BadRequest_InvalidAuthentication BadRequest_MappingReferenceWasNotFound
held BadRequest_DatabaseNotExist BadRequest_TableNotExist BadRequest_EntityNotFound Schema_PermanentUpdateFailure
held UpdatePolicy_QuerySchemaDoesNotMatchTableSchema UpdatePolicy_Cyclic_Update_Not_Allowed UpdatePolicy_BadRequest
held Forbidden BadRequest_InvalidCsvMapping BadRequest_InvalidJsonMapping BadRequest_MissingJsonMappingtFailure
held BadRequest_UriMissingSas UpdatePolicy_Transactional_Not_Allowed_In_Streaming_Ingestion
permanent BadRequest_FormatNotSupported BadRequest_DuplicateMapping BadRequest_InvalidOrEmptyTableName
permanent BadRequest_EmptyDatabaseName BadRequest_EmptyMappingReference General_BadRequest BadRequest_SyntaxError
permanent BadRequest_CreationTimeEarlierThanSoftDeletePeriod BadRequest_NotSupported BadRequest_EntityNameIsNotValid
permanent BadRequest_MalformedIngestionProperty BadRequest_IngestionPropertyNotSupportedInThisContext
transient Download_BadRequest Download_SourceNotFound Download_AccessConditionNotSatisfied Download_Forbidden
transient Download_AccountNotFound Download_NotTransient BadRequest_InvalidKustoIdentityToken General_RetryAttemptsExceeded
transient BadRequest_NoValidResponseFromEngine BadRequest_MessageExhausted General_AbandonedIngestion
T Download_UnknownError Download_TransientNameResolutionFailure General_InternalServerError
T General_TransientSchemaMismatch Timeout OutOfMemory UpdatePolicy_FailedDescendantTransaction
T UpdatePolicy_IngestionError UpdatePolicy_UnknownError General_ThrottledIngestion Unknown Misc Stream_LowMemoryCondition
skipped BlobAlreadyReceived_BlobAlreadyFoundInBatch BlobAlreadyReceived_DuplicateEventGridNotification
skipped Skipped_IngestByTagAlreadyExists
`

func TestEveryDocumentedCode(t *testing.T) {
	classes := map[string]transport.Class{"malformed": transport.Malformed, "held": transport.Held,
		"permanent": transport.Permanent, "transient": transport.Transient, "T": transport.Transient}
	n := 0
	for line := range strings.Lines(documented) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		for _, code := range words[1:] {
			n++
			if _, known := codes[code]; !known {
				t.Errorf("%s is not in the table", code)
				continue
			}
			final := FailureOutcome(code, "Permanent")
			if words[0] == "skipped" {
				if final != skipped || FailureOutcome(code, "") != skipped || FailureOutcome(code, "Transient") != skipped {
					t.Errorf("%s: %+v, want skipped whatever the status", code, final)
				}
				continue
			}
			if final != failed(classes[words[0]]) || FailureOutcome(strings.ToUpper(code), "exhausted") != final {
				t.Errorf("%s: %+v, want %v", code, final, classes[words[0]])
			}
			if got := FailureOutcome(code, "Transient"); got != waits {
				t.Errorf("%s, repeated by the service: %+v, want to wait", code, got)
			}
			bare := FailureOutcome(code, "Unknown")
			if words[0] == "T" && bare != waits || words[0] != "T" && bare != final {
				t.Errorf("%s without a status: %+v", code, bare)
			}
		}
	}
	if n != len(codes) {
		t.Errorf("the test lists %d codes, the table %d", n, len(codes))
	}
}

func TestUnknownCodesGoByTheirStatus(t *testing.T) {
	for status, want := range map[string]Outcome{
		"Permanent": permanent, "1": permanent, "Transient": waits, "2": waits,
		"Exhausted": again, "3": again, "Unknown": again, "0": again, "": again, "Novel": again,
	} {
		if got := FailureOutcome("Novel_Code", status); got != want {
			t.Errorf("%q: %+v, want %+v", status, got, want)
		}
	}
}

func TestStatusOutcome(t *testing.T) {
	for _, tc := range []struct {
		status, code, failure string
		want                  Outcome
	}{
		{"Pending", "", "", waits},
		{"", "", "", waits},
		{"Succeeded", "", "", Outcome{State: ingest.Succeeded}},
		{"succeeded", "", "", Outcome{State: ingest.Succeeded}},
		{"Skipped", "", "", skipped},
		{"Skipped", "Skipped_IngestByTagAlreadyExists", "Permanent", skipped},
		{"Skipped", "Stream_NoDataToIngest", "Permanent", malformed},
		{"Failed", "Skipped_IngestByTagAlreadyExists", "Permanent", skipped},
		{"Failed", "BadRequest_TableNotExist", "Permanent", held},
		{"Failed", "General_InternalServerError", "Transient", waits},
		{"Failed", "General_InternalServerError", "Exhausted", again},
		{"PartiallySucceeded", "", "", permanent},
		{"Queued", "", "", Outcome{State: ingest.Accepted}},
		{"Novel", "", "", waits},
	} {
		if got := StatusOutcome(tc.status, tc.code, tc.failure); got != tc.want {
			t.Errorf("%+v: got %+v", tc, got)
		}
	}
}
