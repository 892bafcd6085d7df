package statushttp

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"kustospool/internal/quantity"
	"kustospool/operate"
)

// What the page lists at most. The protocol below v1/ lists more.
const (
	maxShown    = 20  // batches, dead letters, files
	maxTables   = 200 // rows of tables
	maxTroubles = 50
)

// may is what a reader is offered.
type may struct {
	Tables bool // pause, resume and retry tables
	Dead   bool // retry and drop dead letters
	Show   bool // see the records of dead letters
}

// view is a look, as the templates take it.
type view struct {
	May      may
	Base     string // from the page to where it is mounted
	S        *operate.Status
	At, Seen time.Time
	Failing  time.Time
	Err      string

	Waiting  int64
	Settled  int64
	Rate     string
	Disk     string
	Tables   []tableRow
	MoreTabs int
	Batches  []operate.Batch
	Dead     []operate.Batch
	Files    []operate.File // set aside
	Troubles []operate.Trouble
	Critical int
	Warnings int
}

// tableRow is what waits of one table, or a table that is paused.
type tableRow struct {
	Key   string // for the script, which finds a button again by it
	Name  string // DB.TABLE as the spool calls it
	Kind  string // format
	State string
	Sign  string
	Why   string
	Next  time.Time

	Records int64
	Size    string
	Age     float64
	Oldest  time.Time
	Batches int64
	Rate    string
	Said    string
	Since   time.Time // of the failure

	Paused bool
}

func viewOf(l *look, m may) *view {
	v := &view{May: m, S: l.status, At: l.at, Seen: l.seen, Failing: l.failing}
	if l.err != nil {
		v.Err = text(l.err.Error())
		v.Critical++
	}
	s := l.status
	if s == nil {
		return v
	}
	n := &s.Counters
	v.Waiting = n.Open + n.Sealed
	v.Settled = n.Ingested + n.HandedOver + n.DeadLettered + n.Dropped
	v.Rate = rateText(s.Rate, s.TimeToEmpty)
	v.Disk = quantity.Size(n.DiskBytes)
	if n.QuotaBytes > 0 {
		v.Disk += fmt.Sprintf(" of %s (%.0f%%)", quantity.Size(n.QuotaBytes), 100*float64(n.DiskBytes)/float64(n.QuotaBytes))
	}
	if n.FreeBytes >= 0 {
		v.Disk += ", " + quantity.Size(n.FreeBytes) + " free on the volume"
	}
	v.Tables, v.MoreTabs = tableRows(s)
	v.Batches = s.Batches[:min(len(s.Batches), maxShown)]
	v.Dead = s.Dead[:min(len(s.Dead), maxShown)]
	v.Files = s.Quarantine[:min(len(s.Quarantine), maxShown)]
	v.Troubles = slices.Clone(s.Troubles[:min(len(s.Troubles), maxTroubles)])
	for i := range v.Troubles {
		files := &v.Troubles[i].Files
		*files = (*files)[:min(len(*files), maxShown)]
		switch s.Troubles[i].Level {
		case operate.Critical:
			v.Critical++
		case operate.Warning:
			v.Warnings++
		}
	}
	return v
}

// tableRows are the tables with something waiting, the longest wait first, and behind
// them those that are paused and have nothing. more is how many rows are not there.
func tableRows(s *operate.Status) (rows []tableRow, more int) {
	seen := map[string]bool{}
	for i := range s.Lanes {
		l := &s.Lanes[i]
		seen[l.Database+"."+l.Table] = true
		rows = append(rows, rowOf(l, s))
	}
	slices.SortStableFunc(rows, func(a, b tableRow) int { return cmp.Compare(b.Age, a.Age) })
	for i := range s.Paused {
		p := &s.Paused[i]
		name := p.Database + "." + p.Table
		if !seen[name] {
			rows = append(rows, tableRow{Key: "paused-" + name, Name: name, State: "paused", Sign: "‖", Why: pausedText(p), Paused: true})
		}
	}
	shown := rows[:min(len(rows), maxTables)]
	return shown, len(rows) - len(shown) + s.Cut["lanes"]
}

func rowOf(l *operate.Lane, s *operate.Status) tableRow {
	row := tableRow{Key: fmt.Sprintf("lane-%d", l.Lane), Name: l.Database + "." + l.Table, Kind: l.Format, Records: l.Open + l.Records, Size: quantity.Size(l.RawBytes),
		Age: l.OldestSeconds, Oldest: l.Oldest, Batches: l.Batches, Rate: rateText(l.Rate, l.TimeToEmpty)}
	if l.Blobs {
		row.Kind += ", blobs by reference"
		row.Size = ""
	}
	if f := l.Failure; f != nil {
		row.Said, row.Since = said(f), f.Since()
	}
	row.State, row.Sign, row.Why = laneState(l, s)
	row.Paused = l.Paused != nil
	if l.Next.After(s.At) {
		row.Next = l.Next
	}
	return row
}

// laneState says in a word what becomes of a table, with a sign for it, and why.
func laneState(l *operate.Lane, s *operate.Status) (state, sign, why string) {
	switch {
	case l.Paused != nil:
		return "paused", "‖", pausedText(l.Paused)
	case l.Held:
		return "held", "■", "something has to be mended first"
	case s.Failed != "":
		return "waiting", "…", "the spool has failed"
	case !s.InUse:
		return "waiting", "…", "no process has the spool open"
	case l.Unhealthy == "transient":
		return "waiting", "…", "the destination cannot be reached, or is in trouble"
	case l.Unhealthy == "unauthorized":
		return "waiting", "…", "the destination refuses the permission"
	case l.Unhealthy == "throttled":
		return "waiting", "…", "the destination asks for less"
	case l.Next.After(s.At):
		return "waiting", "…", "because an attempt failed"
	case l.Batches == 0:
		return "waiting", "…", "for a batch to fill"
	case l.Awaited == l.Batches:
		return "waiting", "…", "for the outcome, which the service has not told yet"
	}
	return "sending", "→", ""
}

func pausedText(p *operate.Paused) string {
	out := "since " + p.Since.UTC().Format("2006-01-02 15:04:05")
	if p.Reason != "" {
		out += ": " + text(p.Reason)
	}
	return out
}

// nameOf is a table's name as it is shown.
func nameOf(database, table string) string { return text(database + "." + table) }
