package transporttest

import (
	"slices"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// Harness tells the suite how to make what it tests.
type Harness struct {
	// New makes a transport and an empty destination for it, and registers
	// their end with t.Cleanup. It is called for each case. Required.
	New func(t *testing.T) *Target
	// Formats are the formats to send; nil means json, csv and parquet. They
	// need not be valid data of the format except for json and csv.
	Formats []ingest.Format
	// Names are pairs of a database and a table to try; nil means a list of
	// names that the service allows and a file system or a URL may not.
	Names [][2]string
	// LargeBytes is the size of the large payload; 0 means 5 MiB.
	LargeBytes int
	// Only names the cases to run; nil means all.
	Only []string
}

// Target is a transport and a look behind it. Transport and Rows are
// required. A nil hook takes the cases that need it out of the run.
type Target struct {
	Transport transport.Transport
	// Rows is the records that are in a table now, in any order, each as often
	// as it is there: the text as it was sent for a line format, the whole
	// payload otherwise ([Split] does both). It may be called inside Send.
	Rows func(t testing.TB, p ingest.Properties) []string
	// Settle returns when the destination has done all that it was asked to
	// do, so that Rows and Track can tell. nil: there is nothing to wait for.
	Settle func(t testing.TB)
	// Prepare makes a destination ready for these properties, a table say. It
	// is called before the first Send to it.
	Prepare func(t testing.TB, p ingest.Properties)
	// PutBlob stores data where the destination can fetch it from, under a name
	// that ends in extension, and gives its URI for [ingest.Blob]. It is for
	// transports with Capabilities.Blobs. What gives access to it must be among
	// Secrets.
	PutBlob func(t testing.TB, extension string, data []byte) string
	// Secrets must never show in progress or in an error.
	Secrets []string

	// Down makes the destination unreachable, or reachable again.
	Down func(t testing.TB, down bool)
	// LoseReply lets the next step that makes rows appear happen and loses the
	// answer to it.
	LoseReply func(t testing.TB)
	// Stall makes the destination stop answering until release is called.
	Stall func(t testing.TB) (release func())
	// Forbid makes the destination refuse every question for an outcome for want of
	// a role, whatever else it does, until permit is called, once or more.
	Forbid func(t testing.TB) (permit func())
	// Breaks holds, by name, what breaks the requests that carry the payload, as
	// internal/testutil/netfault does: by a reply in the middle of the body, say.
	// end ends it and tells how many it struck.
	Breaks map[string]func() (end func() (struck int))
	// Refuse holds, by class, what makes the destination refuse the next batch
	// in that way: in answer to Send, or later, through Track.
	Refuse map[transport.Class]func(t testing.TB)
}

func (tg *Target) settle(t testing.TB) {
	if tg.Settle != nil {
		tg.Settle(t)
	}
}

// Run tests a transport against its contract.
func Run(t *testing.T, h Harness) {
	if h.Formats == nil {
		h.Formats = []ingest.Format{ingest.JSON, ingest.CSV, ingest.Parquet}
	}
	if h.Names == nil {
		h.Names = [][2]string{{"Telemetry", "Events"}, {"data base", "my-table.v2"}, {"Größe", "日本語 テーブル"}, {"CON", "nul"}}
	}
	if h.LargeBytes == 0 {
		h.LargeBytes = 5 << 20
	}
	for _, c := range cases {
		if h.Only != nil && !slices.Contains(h.Only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.run(t, newRun(t, h))
		})
	}
}

// newRun makes a target with nothing in it.
func newRun(t *testing.T, h Harness) *run {
	target := h.New(t)
	if target.Transport == nil || target.Rows == nil {
		t.Fatal("the harness made no Transport or no Rows")
	}
	r := &run{h: h, Target: target}
	r.spool = ingest.SpoolID([]byte("suite-01"))
	if !target.Transport.Capabilities().ExactlyOnce {
		r.guarantee = ingest.AtLeastOnce
	} else {
		r.guarantee = ingest.ExactlyOnce
	}
	return r
}

// cases is the suite, in the order in which a new transport should pass it.
var cases = []struct {
	name string
	run  func(t *testing.T, r *run)
}{
	{"Capabilities", testCapabilities},
	{"Arrives", testArrives},
	{"Formats", testFormats},
	{"Names", testNames},
	{"Large", testLarge},
	{"Concurrent", testConcurrent},
	{"CommitComesFirst", testCommitComesFirst},
	{"JournalErrorStops", testJournalErrorStops},
	{"Repeat", testRepeat},
	{"ResumeFromEveryIntent", testResume},
	{"ForeignProgress", testForeignProgress},
	{"ExactlyOnceOrRefused", testExactlyOnceOrRefused},
	{"Blob", testBlob},
	{"PayloadError", testPayloadError},
	{"ContextEnded", testContextEnded},
	{"ContextEndsInPayload", testContextEndsInPayload},
	{"ContextEndsInStall", testContextEndsInStall},
	{"Down", testDown},
	{"LostReply", testLostReply},
	{"BrokenRequests", testBrokenRequests},
	{"Refused", testRefused},
	{"Track", testTrack},
	{"ForbiddenLooks", testForbiddenLooks},
}
