package operate

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
)

// TestNextSteps: the page on operations has the words of the program.
func TestNextSteps(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## Next steps\n")
	if !ok {
		t.Fatal("the page has no next steps")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var got, want []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	for _, a := range advices {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", a.kind, a.level, a.what, a.next))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page differs; its table should be\n%s", strings.Join(want, "\n"))
	}
}

// TestDiagnose: each trouble by the figures that are its signs, and none without.
func TestDiagnose(t *testing.T) {
	at := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	failure := func(class, code string) *ingest.Failure {
		return &ingest.Failure{Class: class, Code: code, Message: "words", RequestID: "r-1", At: at, First: at.Add(-time.Hour)}
	}
	lane := func(table string, f *ingest.Failure) Lane {
		return Lane{Database: "D", Table: table, Open: 1, Records: 2, Failure: f}
	}
	of := func(class string, l Lane) Lane { // its destination fails with that
		l.Unhealthy = class
		return l
	}
	paused := func(l Lane) Lane {
		l.Paused = &Paused{Since: at}
		return l
	}
	for _, tc := range []struct {
		name   string
		status Status
		want   []string // kind, level, table, number of tables, records
	}{
		{"well", Status{InUse: true, Lanes: []Lane{lane("A", nil)}, Counters: Counters{Open: 3, FreeBytes: -1}}, nil},
		{"at rest and empty", Status{Counters: Counters{FreeBytes: -1}}, nil},
		{"at rest", Status{Counters: Counters{Open: 1, Sealed: 2, FreeBytes: -1}}, []string{"not-running warning  0 3"}},
		{"down", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{of("transient", lane("A", failure("transient", "503"))), of("transient", lane("B", failure("transient", ""))), of("transient", lane("B", nil))}, Counters: Counters{FreeBytes: -1}},
			[]string{"service-down warning  2 9"}},
		{"down for a table that has not met it", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{of("transient", lane("A", nil))}, Counters: Counters{FreeBytes: -1}}, []string{"service-down warning D.A 1 3"}},
		{"down, beside tables that wait for something else", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{of("transient", lane("A", nil)), paused(of("transient", lane("B", failure("transient", "")))),
			of("transient", lane("C", failure("held", "BadRequest_TableNotExist")))}, Counters: Counters{FreeBytes: -1}}, []string{"service-down warning D.A 1 3", "missing-table warning D.C 1 3"}},
		{"one of two destinations is down", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{of("transient", lane("A", nil)), lane("B", failure("transient", "")), lane("C", nil)}, Counters: Counters{FreeBytes: -1}},
			[]string{"service-down warning D.A 1 3"}},
		{"in doubt", Status{InUse: true, Unhealthy: failure("unknown", ""), Lanes: []Lane{of("unknown", lane("A", nil)), of("unknown", lane("B", failure("transient", "")))}, Counters: Counters{FreeBytes: -1}},
			[]string{"service-down warning D.B 1 3", "outcome-unknown note  0 0"}},
		{"down for tables that last met something else", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{of("transient", lane("A", failure("throttled", ""))), of("transient", lane("B", failure("unknown", "")))}, Counters: Counters{FreeBytes: -1}},
			[]string{"service-down warning  2 6"}},
		{"in doubt and paused, while it is down", Status{InUse: true, Unhealthy: failure("transient", ""), Lanes: []Lane{paused(of("transient", lane("A", failure("unknown", ""))))}, Counters: Counters{FreeBytes: -1}},
			[]string{"service-down warning  0 0", "outcome-unknown note D.A 1 3"}},
		{"at rest in an outage", Status{Lanes: []Lane{lane("A", failure("transient", ""))}, Counters: Counters{Open: 1, Sealed: 2, FreeBytes: -1}}, []string{"not-running warning  0 3", "service-down warning D.A 1 3"}},
		{"well again", Status{InUse: true, Lanes: []Lane{lane("A", failure("transient", "503"))}, Counters: Counters{FreeBytes: -1}}, nil},
		{"down before a batch", Status{InUse: true, Unhealthy: failure("transient", ""), Counters: Counters{FreeBytes: -1}}, []string{"service-down warning  0 0"}},
		{"throttled", Status{InUse: true, Unhealthy: failure("throttled", ""), Lanes: []Lane{of("throttled", lane("A", failure("throttled", "")))}, Counters: Counters{FreeBytes: -1}}, []string{"throttled note D.A 1 3"}},
		{"refused", Status{InUse: true, Unhealthy: failure("unauthorized", ""), Lanes: []Lane{of("unauthorized", lane("A", failure("unauthorized", "")))}, Counters: Counters{FreeBytes: -1}}, []string{"permission-refused warning D.A 1 3"}},
		{"tables", Status{InUse: true, Lanes: []Lane{lane("A", failure("held", "BadRequest_TableNotExist")), lane("A", failure("held", "BadRequest_TableNotExist")),
			lane("B", failure("held", "BadRequest_TableAccessDenied")), lane("C", failure("held", "BadRequest_NoJsonMapping")), lane("E", failure("held", "BlobSecret")),
			lane("F", failure("held", "Schema_PermanentUpdateFailure")), lane("G", failure("unknown", "")), lane("H", failure("malformed", "Stream_NoSuch"))}, Counters: Counters{FreeBytes: -1}},
			[]string{"permission-refused warning D.B 1 3", "missing-table warning D.A 1 6", "missing-mapping warning D.C 1 3", "blob-refused warning D.E 1 3", "table-held warning D.F 1 3", "outcome-unknown note D.G 1 3"}},
		{"paused", Status{InUse: true, Paused: []Paused{{Database: "D", Table: "A", Since: at, Reason: "r"}}, Lanes: []Lane{lane("A", nil), lane("B", nil)}, Counters: Counters{FreeBytes: -1}}, []string{"table-paused warning D.A 1 3"}},
		{"failed", Status{InUse: true, Failed: "words", Counters: Counters{Open: 1, Sealed: 2, FreeBytes: -1}}, []string{"failed critical  0 3"}},
		{"full", Status{InUse: true, Counters: Counters{DiskBytes: 96, QuotaBytes: 100, Open: 1, FreeBytes: 1 << 40}}, []string{"full critical  0 1"}},
		{"not full", Status{InUse: true, Counters: Counters{DiskBytes: 9400, QuotaBytes: 10000, FreeBytes: 1 << 40}}, nil},
		{"waited for room", Status{InUse: true, Counters: Counters{WaitingForRoom: 1, FreeBytes: 1}}, []string{"full critical  0 0", "volume-full critical  0 0"}},
		{"dead", Status{Dead: []Batch{{Records: 5, Updated: at, Failure: failure("malformed", "X")}}, Counters: Counters{DeadWaiting: 1, FreeBytes: -1}}, []string{"malformed-records warning  0 5"}},
		{"damaged", Status{Quarantine: []File{{Name: "quarantine/x", At: at}}, Counters: Counters{QuarantinedFiles: 1, FreeBytes: -1}}, []string{"damaged critical  0 0"}},
		{"found", Status{Found: []string{"a segment"}, Counters: Counters{FreeBytes: -1}}, []string{"damaged critical  0 0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, d := range Diagnose(&tc.status) {
				got = append(got, fmt.Sprintf("%s %s %s %d %d", d.Kind, d.Level, d.Table, d.Tables, d.Records))
				if d.What == "" || d.Next == "" {
					t.Errorf("%+v", d)
				}
				if d.Said != "" && (d.Said != "words" || d.RequestID != "r-1" || !d.Last.Equal(at)) {
					t.Errorf("%+v", d)
				}
				if d.Class != "" && d.Kind != MalformedRecords && !d.Since.Equal(at.Add(-time.Hour)) {
					t.Errorf("since %v", d.Since)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// When the process of a spool at rest ended is not known, and the age of its records is
// not taken for that.
func TestDiagnoseAtRest(t *testing.T) {
	oldest := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	found := Diagnose(&Status{Counters: Counters{Open: 3, Oldest: oldest, FreeBytes: -1}})
	if len(found) != 1 || found[0].Kind != NotRunning || !found[0].Since.IsZero() || !strings.HasSuffix(found[0].What, "3 records wait, the oldest since 2026-11-27T05:00:00Z") {
		t.Errorf("%+v", found)
	}
}

// The troubles of many tables stay within a bound.
func TestDiagnoseIsBounded(t *testing.T) {
	var s Status
	for i := range 10_000 {
		s.Lanes = append(s.Lanes, Lane{Table: fmt.Sprint("T", i), Failure: &ingest.Failure{Class: "held"}})
	}
	if got := len(Diagnose(&s)); got != maxTroubles {
		t.Errorf("%d troubles", got)
	}
}

// Since when a spool is full is not known, and the age of its records is not taken for that.
func TestDiagnoseFull(t *testing.T) {
	found := Diagnose(&Status{InUse: true, Counters: Counters{WaitingForRoom: 1, Open: 3, Oldest: time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC), FreeBytes: -1}})
	if len(found) != 1 || found[0].Kind != Full || !found[0].Since.IsZero() {
		t.Errorf("%+v", found)
	}
}

// Of dead letters that are not all listed it is not known how many records they hold, nor
// which was the first.
func TestDiagnoseSomeOfTheDead(t *testing.T) {
	at := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	found := Diagnose(&Status{InUse: true, Dead: []Batch{{Records: 5, Updated: at, Failure: &ingest.Failure{Class: "malformed", Message: "words"}}}, Cut: map[string]int{"dead_letters": 4}, Counters: Counters{DeadWaiting: 5, FreeBytes: -1}})
	if len(found) != 1 || found[0].Records != 0 || !found[0].Since.IsZero() || !found[0].Last.IsZero() || found[0].Said != "words" {
		t.Errorf("%+v", found)
	}
}

// Numbers in troubles have the form of those beside them.
func TestDiagnoseNumbers(t *testing.T) {
	for _, tc := range []struct {
		status Status
		want   string
	}{
		{Status{Counters: Counters{Open: 1, Sealed: 12_345, FreeBytes: -1}}, "no process has the spool open, so nothing is delivered; 12,346 records wait"},
		{Status{InUse: true, Counters: Counters{WaitingForRoom: 1, DiskBytes: 2_000_000, QuotaBytes: 2 << 20, FreeBytes: -1}}, "the spool takes 1.91 MiB of the 2 MiB that it may take; 1 caller waits for room"},
		{Status{InUse: true, Counters: Counters{WaitingForRoom: 1024, DiskBytes: 2 << 20, QuotaBytes: 2 << 20, FreeBytes: -1}}, "the spool takes 2 MiB of the 2 MiB that it may take; 1,024 callers wait for room"},
		{Status{InUse: true, Counters: Counters{FreeBytes: 0}}, "the volume has 0 B left"},
		{Status{InUse: true, Counters: Counters{FreeBytes: 1_500_000}}, "the volume has 1.43 MiB left"},
		{Status{InUse: true, Counters: Counters{QuarantinedFiles: 1, QuarantinedBytes: 4096, FreeBytes: -1}}, "1 file with damaged data, of 4 KiB, was set aside in quarantine"},
		{Status{InUse: true, Counters: Counters{DeadWaiting: 5000, FreeBytes: -1}}, "5,000 dead letters wait to be dealt with"},
	} {
		found := Diagnose(&tc.status)
		if len(found) != 1 || found[0].What != tc.want {
			t.Errorf("%+v, want %q", found, tc.want)
		}
	}
}

// Of a destination in trouble the newest words count, and since when it was met first.
func TestDiagnoseWords(t *testing.T) {
	at := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	met := &ingest.Failure{Class: "transient", Message: "at the table", RequestID: "r-1", At: at, First: at.Add(-time.Hour)}
	newest := &ingest.Failure{Class: "transient", Message: "at the door", RequestID: "r-2", At: at.Add(time.Minute), First: at.Add(time.Minute)}
	found := Diagnose(&Status{InUse: true, Unhealthy: newest, Lanes: []Lane{{Table: "A", Open: 1, Failure: met, Unhealthy: "transient"}, {Table: "B", Open: 1, Unhealthy: "transient"}}, Counters: Counters{FreeBytes: -1}})
	if len(found) != 1 || !found[0].Since.Equal(at.Add(-time.Hour)) || !found[0].Last.Equal(newest.At) || found[0].Failure().String() != "transient: at the door (request r-2)" {
		t.Errorf("%+v", found)
	}
	if (&Trouble{Kind: Full}).Failure() != nil {
		t.Error("a trouble without words has some")
	}
}
