package operate

import (
	"slices"
	"strings"

	"kustospool/ingest"
)

// Kind names a trouble.
type Kind string

// The kinds of troubles.
const (
	ServiceDown       Kind = "service-down"
	Throttled         Kind = "throttled"
	PermissionRefused Kind = "permission-refused"
	MissingTable      Kind = "missing-table"
	MissingMapping    Kind = "missing-mapping"
	BlobRefused       Kind = "blob-refused"
	TableHeld         Kind = "table-held"
	TablePaused       Kind = "table-paused"
	OutcomeUnknown    Kind = "outcome-unknown"
	MalformedRecords  Kind = "malformed-records"
	SpoolFailed       Kind = "failed"
	Full              Kind = "full"
	VolumeFull        Kind = "volume-full"
	Damaged           Kind = "damaged"
	NotRunning        Kind = "not-running"
)

// advice is what there is to say about a kind of trouble, whatever spool has it.
type advice struct {
	kind  Kind
	level Level
	what  string // in a few words
	next  string // what to do
}

// advices are all kinds, in the order of the page on operations, which has
// the same words under "Next steps".
var advices = []advice{
	{NotRunning, Warning, "no process has the spool open, so nothing is delivered",
		"Start the program that the spool belongs to, or deliver what waits with `kustospool drain`."},
	{ServiceDown, Warning, "the service cannot be reached, or is in trouble",
		"Nothing has to be done in the spool: it tries again by itself, at least once a minute, and keeps every record meanwhile. See that the service runs and that this machine reaches it; `kustospool retry` with a table's name tries at once."},
	{Throttled, Note, "the service asks for less",
		"Nothing has to be done: delivery slows down as it is asked to. Where it lasts, give the cluster more capacity, or send larger batches."},
	{PermissionRefused, Warning, "the service refuses the permission",
		"Grant the identity of this program the role that the service's words name (Database Ingestor, or Table Ingestor on the table), or mend its credential. It is tried again by itself."},
	{MissingTable, Warning, "the table or its database is missing",
		"Create the table in the service, or with `kustospool drain --create-table COLUMNS` where no process has the spool open, or correct its name where the records come from. It is tried again by itself, and other tables go on meanwhile."},
	{MissingMapping, Warning, "the mapping is missing, or does not fit",
		"Create or mend the mapping in the service under the same name. It is tried again by itself, and other tables go on meanwhile."},
	{BlobRefused, Warning, "a blob that was given by reference cannot be read",
		"Give the service access to the blob: a SAS that is valid for days, or Storage Blob Data Reader for its identity. It is tried again by itself, and other blobs go on meanwhile."},
	{TableHeld, Warning, "the table cannot take the records now",
		"Mend in the service, or in the program's configuration, what the words say of this table. It is tried again by itself, and other tables go on meanwhile."},
	{TablePaused, Warning, "the table was paused by an operator",
		"Once the reason is gone, run `kustospool resume` with the table's name. Records are taken and kept meanwhile."},
	{OutcomeUnknown, Note, "it is not known whether batches have arrived",
		"Nothing has to be done: the service is asked, and after a grace the batches are sent again under the same tag. Where it lasts, see that the identity of this program may ask for outcomes."},
	{MalformedRecords, Warning, "records were refused for good",
		"See why with `kustospool dead list`. What the service takes now goes again by `kustospool dead retry`. What must be mended is written to files by `kustospool dead export`, and goes by `kustospool dead retry --from`. What nobody wants goes by `kustospool dead drop`."},
	{SpoolFailed, Critical, "a write to the disk failed, so the spool takes and delivers nothing",
		"Look at the disk and the kernel's log, then restart the program that has the spool open: it goes on from what is on the disk, with all that was acknowledged."},
	{Full, Critical, "the spool is full",
		"Let delivery go on: look after the other troubles first. To have room at once, drop dead letters that nobody wants (`kustospool dead drop`), remove quarantined files that were looked at, or open the spool with a larger bound (`--max-disk`, Options.MaxDiskBytes)."},
	{VolumeFull, Critical, "the volume is full",
		"Make room on the volume of the spool. Nothing that was acknowledged is lost, and delivery goes on and makes room itself where it can."},
	{Damaged, Critical, "the disk has damaged the spool",
		"Run `kustospool check`, which says what cannot be read, and look at the disk. Whatever can be read is delivered. What can be read after all of a file of the log that was set aside goes back by `kustospool salvage`. Remove the files in `quarantine` once they were looked at."},
}

// adviceAt is the place of a kind in the order of the page.
func adviceAt(kind Kind) int {
	return slices.IndexFunc(advices, func(a advice) bool { return a.kind == kind })
}

func adviceOf(kind Kind) advice { return advices[adviceAt(kind)] }

// byCode says of failures that hold a table back what they are about, by the
// service's code in lower case (package transport/internal/kusto has them all).
var byCode = map[string]Kind{
	"badrequest_tablenotexist":               MissingTable,
	"badrequest_databasenotexist":            MissingTable,
	"badrequest_entitynotfound":              MissingTable,
	"badrequest_mappingreferencewasnotfound": MissingMapping,
	"badrequest_tableaccessdenied":           PermissionRefused,
	"badrequest_databaseaccessdenied":        PermissionRefused,
	"badrequest_invalidauthentication":       PermissionRefused,
	"forbidden":                              PermissionRefused,
	"403":                                    PermissionRefused,
	"blobsecret":                             BlobRefused,
	"download_forbidden":                     BlobRefused,
	"download_accessconditionnotsatisfied":   BlobRefused,
	"badrequest_invalidmanagedidentity":      BlobRefused,
}

// kindOf is the trouble that a failure of a batch that waits is a sign of; empty
// for none, as where a batch is being split.
func kindOf(f *ingest.Failure, held bool) Kind {
	switch f.Class {
	case "transient":
		return ServiceDown
	case "throttled":
		return Throttled
	case "unauthorized":
		return PermissionRefused
	case "unknown":
		return OutcomeUnknown
	case "held":
		held = true
	}
	if !held {
		return ""
	}
	code := strings.ToLower(f.Code)
	if kind := byCode[code]; kind != "" {
		return kind
	}
	if strings.Contains(code, "mapping") {
		return MissingMapping
	}
	return TableHeld
}
