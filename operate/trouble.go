package operate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/internal/quantity"
)

// Trouble is something that does not go well, since when, why, and what to do.
type Trouble struct {
	Kind  Kind  `json:"kind"`
	Level Level `json:"level"`
	// Table is DB.TABLE; empty where it is of the spool, or of more tables than one.
	Table  string `json:"table,omitempty"`
	Tables int    `json:"tables,omitempty"` // how many it is of
	// Records is how many wait for its end, or are affected by it.
	Records int64     `json:"records,omitempty"`
	Since   time.Time `json:"since,omitzero"` // when it was met first; zero where that is not known
	Last    time.Time `json:"last,omitzero"`  // when it was met last
	What    string    `json:"what"`           // in a sentence
	// Code, Said and RequestID are the service's, of the last time. They are as it
	// sent them: who shows them on a terminal makes control characters visible.
	Class     string `json:"class,omitempty"`
	Code      string `json:"code,omitempty"`
	Said      string `json:"said,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	// NotBefore is until when the service asked to wait; zero where it did not ask.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Files are below the spool's directory; there may be more.
	Files []string `json:"files,omitempty"`
	Next  string   `json:"next"` // what to do; docs/operations.md has the same words
}

// Level says who should look after a trouble.
type Level string

// The levels.
const (
	Note     Level = "note"     // it ends by itself
	Warning  Level = "warning"  // it should be seen, or somebody has to do something; nothing is lost meanwhile
	Critical Level = "critical" // records are refused, or cannot be read
)

// maxTroubles bounds the troubles of single tables.
const maxTroubles = 50

// Diagnose finds the troubles of a status: the worst first, those of the same level in
// the order of docs/operations.md, and those of the same kind the oldest first. It looks at nothing else, and at no clock.
func Diagnose(s *Status) []Trouble {
	f := &finder{s: s, byKey: map[string]*Trouble{}}
	f.failed()
	f.room()
	f.damage()
	f.dead()
	f.lanes()
	f.paused()
	f.atRest()
	slices.SortStableFunc(f.found, func(a, b *Trouble) int {
		return cmp.Or(cmp.Compare(rank[b.Level], rank[a.Level]), cmp.Compare(adviceAt(a.Kind), adviceAt(b.Kind)), a.Since.Compare(b.Since))
	})
	out := make([]Trouble, 0, len(f.found))
	for _, t := range f.found[:min(len(f.found), maxTroubles)] {
		t.Next = adviceOf(t.Kind).next
		t.Level = adviceOf(t.Kind).level
		out = append(out, *t)
	}
	return out
}

var rank = map[Level]int{Note: 1, Warning: 2, Critical: 3}

// finder collects the troubles of a status.
type finder struct {
	s     *Status
	found []*Trouble
	byKey map[string]*Trouble
}

func (f *finder) add(t Trouble) {
	t.Level = adviceOf(t.Kind).level
	f.found = append(f.found, &t)
}

// fullPercent of the quota is taken for full: a segment that cannot be begun
// needs its room at once.
const fullPercent = 95

// leastFree is the room on a volume, in bytes, below which it is about to be full.
const leastFree = 32 << 20

func (f *finder) failed() {
	if why := f.s.Failed; why != "" {
		f.add(Trouble{Kind: SpoolFailed, Records: f.s.Counters.Open + f.s.Counters.Sealed, What: adviceOf(SpoolFailed).what + ": " + why})
	}
}

func (f *finder) room() {
	c := &f.s.Counters
	if c.WaitingForRoom > 0 || c.QuotaBytes > 0 && c.DiskBytes >= c.QuotaBytes/100*fullPercent {
		f.add(Trouble{Kind: Full, Records: c.Open + c.Sealed, // since when is not known
			What: fmt.Sprintf("the spool takes %s of the %s that it may take; %s for room", quantity.Size(c.DiskBytes), quantity.Size(c.QuotaBytes), wait(int64(c.WaitingForRoom), "caller"))})
	}
	if c.FreeBytes >= 0 && c.FreeBytes < leastFree {
		f.add(Trouble{Kind: VolumeFull, What: fmt.Sprintf("the volume has %s left", quantity.Size(c.FreeBytes))})
	}
}

func (f *finder) damage() {
	c := &f.s.Counters
	if c.QuarantinedFiles == 0 && len(f.s.Found) == 0 {
		return
	}
	t := Trouble{Kind: Damaged}
	var what []string
	if n := c.QuarantinedFiles; n > 0 {
		files := "1 file with damaged data, of %s, was set aside in quarantine"
		if n > 1 {
			files = quantity.Count(int64(n)) + " files with damaged data, of %s, were set aside in quarantine"
		}
		what = append(what, fmt.Sprintf(files, quantity.Size(c.QuarantinedBytes)))
		for i, file := range f.s.Quarantine {
			if i < 5 {
				t.Files = append(t.Files, file.Name)
			}
			if t.Since.IsZero() || file.At.Before(t.Since) {
				t.Since = file.At
			}
			if file.At.After(t.Last) {
				t.Last = file.At
			}
		}
	}
	if n := len(f.s.Found); n > 0 {
		found := "damage was found that is not dealt with yet: "
		if n > 1 {
			found = fmt.Sprintf("%s signs of damage were found that are not dealt with yet, the first: ", quantity.Count(int64(n)))
		}
		what = append(what, found+f.s.Found[0])
	}
	t.What = strings.Join(what, "; ")
	f.add(t)
}

func (f *finder) dead() {
	if f.s.Counters.DeadWaiting == 0 {
		return
	}
	t := Trouble{Kind: MalformedRecords, What: wait(f.s.Counters.DeadWaiting, "dead letter") + " to be dealt with"}
	for i := range f.s.Dead {
		d := &f.s.Dead[i]
		t.Records += d.Records
		if t.Since.IsZero() || d.Updated.Before(t.Since) {
			t.Since = d.Updated
		}
		if d.Updated.After(t.Last) {
			t.Last = d.Updated
			t.say(d.Failure)
		}
	}
	if f.s.Cut["dead_letters"] > 0 {
		t.Records, t.Since, t.Last = 0, time.Time{}, time.Time{} // not all of them are known
	}
	f.add(t)
}

// lanes finds what the tables wait for. A trouble of the destination is one for all of
// its tables, also those of which no batch has met it yet, and any other one for each.
func (f *finder) lanes() {
	counted := map[[2]string]bool{} // tables of a trouble; one has several lanes
	for i := range f.s.Lanes {
		l := &f.s.Lanes[i]
		kind, ofDestination := laneTrouble(l, f.s.InUse)
		if kind == "" {
			continue
		}
		table, key := l.Database+"."+l.Table, string(kind)
		if !ofDestination {
			key += "\n" + table
		}
		t := f.byKey[key]
		if t == nil {
			t = &Trouble{Kind: kind, Level: adviceOf(kind).level, Table: table}
			f.byKey[key] = t
			f.found = append(f.found, t)
		}
		if at := [2]string{key, table}; !counted[at] {
			counted[at] = true
			if t.Tables++; t.Tables > 1 {
				t.Table = ""
			}
		}
		t.Records += l.Open + l.Records
		t.What = fmt.Sprintf("%s; %s", adviceOf(kind).what, wait(t.Records, "record"))
		if own, _ := failureTrouble(l.Failure, l.Held); own == kind {
			t.met(l.Failure)
		}
	}
	// A destination can be unwell before anything of a table has failed.
	u := f.s.Unhealthy
	if u == nil {
		return
	}
	kind := kindOf(u, false)
	if t := f.byKey[string(kind)]; t != nil {
		t.met(u)
	} else if kind != "" {
		t := Trouble{Kind: kind, What: adviceOf(kind).what}
		t.met(u)
		f.add(t)
	}
}

// laneTrouble is what a table waits for: that it is held, or else what its destination
// suffers from now, which may be something else than its own batches met; empty for none.
func laneTrouble(l *Lane, inUse bool) (kind Kind, ofDestination bool) {
	kind, ofDestination = failureTrouble(l.Failure, l.Held)
	switch {
	case kind != "" && kind != OutcomeUnknown && !ofDestination:
		return kind, false
	case l.Paused != nil && ofDestination:
		return "", false // whatever the destination does, it waits for the operator
	case l.Paused != nil || !inUse:
		return kind, ofDestination
	}
	if now, is := failureTrouble(&ingest.Failure{Class: l.Unhealthy}, false); is {
		return now, true
	}
	if ofDestination && l.Unhealthy == "" {
		return "", false // it is well again, and this table has its turn to come
	}
	return kind, ofDestination
}

// failureTrouble is the trouble that a failure, which may be nil, is a sign of, and whether
// it is one of the destination with all of its tables.
func failureTrouble(failure *ingest.Failure, held bool) (kind Kind, ofDestination bool) {
	if failure == nil {
		return "", false
	}
	kind = kindOf(failure, held)
	return kind, kind == ServiceDown || kind == Throttled || kind == PermissionRefused && failure.Class == "unauthorized"
}

// paused finds the tables that somebody has paused, and perhaps forgotten.
func (f *finder) paused() {
	for i := range f.s.Paused {
		p := &f.s.Paused[i]
		t := Trouble{Kind: TablePaused, Table: p.Database + "." + p.Table, Tables: 1, Since: p.Since}
		for j := range f.s.Lanes {
			if l := &f.s.Lanes[j]; l.Database == p.Database && l.Table == p.Table {
				t.Records += l.Open + l.Records
			}
		}
		t.What = fmt.Sprintf("%s; %s", adviceOf(TablePaused).what, wait(t.Records, "record"))
		if p.Reason != "" {
			t.What += "; because: " + p.Reason
		}
		f.add(t)
	}
}

// wait says that n things do.
func wait(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing + " waits"
	}
	return quantity.Count(n) + " " + thing + "s wait"
}

func (f *finder) atRest() {
	if n := f.s.Counters.Open + f.s.Counters.Sealed; n > 0 && !f.s.InUse {
		// Nothing on the disk says when the process ended, so this trouble has no Since.
		what := fmt.Sprintf("%s; %s", adviceOf(NotRunning).what, wait(n, "record"))
		if oldest := f.s.Counters.Oldest; !oldest.IsZero() {
			what += ", the oldest since " + oldest.UTC().Format(time.RFC3339)
		}
		f.add(Trouble{Kind: NotRunning, Records: n, What: what})
	}
}

// met takes a failure as a sign of the trouble: since when it is there, and its newest words.
func (t *Trouble) met(f *ingest.Failure) {
	if since := f.Since(); t.Since.IsZero() || since.Before(t.Since) {
		t.Since = since
	}
	if f.At.After(t.Last) {
		t.Last = f.At
		t.say(f)
	}
}

// Failure is what the service said last, without the times; nil where it said nothing.
func (t *Trouble) Failure() *ingest.Failure {
	if t.Said == "" {
		return nil
	}
	return &ingest.Failure{Class: t.Class, Code: t.Code, Message: t.Said, RequestID: t.RequestID, NotBefore: t.NotBefore}
}

// say takes the words of a failure.
func (t *Trouble) say(f *ingest.Failure) {
	if f != nil {
		t.Class, t.Code, t.Said, t.RequestID, t.NotBefore = f.Class, f.Code, f.Message, f.RequestID, f.NotBefore
	}
}
