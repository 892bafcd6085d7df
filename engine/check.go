package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// Tally counts records: Read == Good + Bad.
type Tally struct {
	Read       int64 `json:"read"`
	Good       int64 `json:"good"`
	Bad        int64 `json:"bad"`
	Waiting    int64 `json:"waiting"`     // of Read: not settled when the check began
	BadWaiting int64 `json:"bad_waiting"` // of both: these would not be delivered
	Bytes      int64 `json:"bytes"`       // that were read
	// Error is what is wrong with the first bad one.
	Error string `json:"error,omitempty"`
}

func (t *Tally) add(c *store.Checked) {
	n := c.Records()
	t.Read += n
	t.Waiting += c.Waiting
	t.Bytes += c.Bytes
	if c.Err == nil {
		t.Good += n
		return
	}
	t.Bad += n
	t.BadWaiting += c.Waiting
	if t.Error == "" {
		t.Error = c.Err.Error()
	}
}

// FileTally counts the records of a file.
type FileTally struct {
	File string `json:"file"` // below the spool's directory; empty for records that no file claims
	Tally
}

// TableTally counts the records of a table.
type TableTally struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	Tally
}

// LetterTally counts dead letters, and Records the records of the good ones.
type LetterTally struct {
	Read    int64         `json:"read"`
	Good    int64         `json:"good"`
	Bad     int64         `json:"bad"`
	Records int64         `json:"records"`
	Bytes   int64         `json:"bytes"`
	Errors  []LetterError `json:"errors,omitempty"` // the first 100
}

// LetterError is a bad dead letter.
type LetterError struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

// CheckReport is what [Spool.Check] and [View.Check] found. The tallies of the files add up to
// Records, and so do those of the tables.
type CheckReport struct {
	Begun   time.Time `json:"begun"`
	Records Tally     `json:"records"`
	// Gone are records that waited when the check began, and were settled and given back before they
	// were read. They are in no tally.
	Gone   int64        `json:"gone,omitempty"`
	Files  []FileTally  `json:"files"` // by name; those beyond 10,000 are one, OtherFiles
	Tables []TableTally `json:"tables"`
	Dead   LetterTally  `json:"dead_letters"`
	// Books says what does not add up, or cannot be read: the first 100.
	Books []string      `json:"books"`
	Took  time.Duration `json:"took_ns"`
}

// OtherFiles stands for the files that are not listed.
const OtherFiles = "(other files)"

// Bounds of a report.
const (
	mostFiles  = 10_000
	mostErrors = 100
)

// Sound reports whether nothing is wrong.
func (r *CheckReport) Sound() bool {
	return r.Records.Bad == 0 && r.Dead.Bad == 0 && len(r.Books) == 0
}

// CheckProgress is how far a check is.
type CheckProgress struct {
	Bytes   int64 `json:"bytes"`   // read so far, of records and dead letters
	Total   int64 `json:"total"`   // about how many there are: the size of the spool's files
	Records int64 `json:"records"` // read so far
	Bad     int64 `json:"bad"`     // of them
}

// CheckOptions tune a check. Nil and the zero value mean the documented defaults.
type CheckOptions struct {
	// BytesPerSecond bounds how fast a spool that is in use is read, so that acknowledgements have
	// the disk: default 64 MiB, at least 1 MiB. A spool at rest is read as fast as it goes.
	BytesPerSecond int64
	// Progress, if it is not nil, is told often how far the check is, from the caller's goroutine.
	Progress func(CheckProgress)
}

const (
	defaultCheckRate = 64 << 20
	leastCheckRate   = 1 << 20
)

// Check reads every record that the spool had when the check began, and every dead letter, proves
// the records by their checksums and adds the books up. It changes nothing, and holds nothing that an
// acknowledgement waits for. What it finds is dealt with when its batch is read, or by the next
// Open: see Salvage of the command for what neither can do. Errors: the context's, [ErrClosed], those of the file system.
func (s *Spool) Check(ctx context.Context, opts *CheckOptions) (*CheckReport, error) {
	if s.closing.Load() {
		return nil, ErrClosed
	}
	o := CheckOptions{}
	if opts != nil {
		o = *opts
	}
	if o.BytesPerSecond <= 0 {
		o.BytesPerSecond = defaultCheckRate
	}
	o.BytesPerSecond = max(o.BytesPerSecond, leastCheckRate)
	return runCheck(ctx, s.store.Check(), s.store.LaneProperties, &o)
}

// Check is as of [Spool.Check], and as fast as it goes.
func (v *View) Check(ctx context.Context, opts *CheckOptions) (*CheckReport, error) {
	o := CheckOptions{}
	if opts != nil {
		o.Progress = opts.Progress
	}
	return runCheck(ctx, v.picture.Check(), v.picture.LaneProperties, &o)
}

// checker is a check under way.
type checker struct {
	report   CheckReport
	progress func(CheckProgress)
	total    int64
	pace     checkPace
	files    map[string]*FileTally
	tables   map[TableName]*TableTally
}

func runCheck(ctx context.Context, c *store.Check, properties func(lane uint32) (ingest.Properties, bool), o *CheckOptions) (*CheckReport, error) {
	begun := time.Now()
	k := &checker{progress: o.Progress, total: c.Stats.DiskBytes, pace: checkPace{rate: o.BytesPerSecond, since: begun},
		files: map[string]*FileTally{}, tables: map[TableName]*TableTally{}, report: CheckReport{Begun: begun.UTC(), Books: []string{}}}
	if err := k.records(ctx, c, properties); err != nil {
		return nil, err
	}
	if err := k.letters(ctx, c); err != nil {
		return nil, err
	}
	k.books(c)
	k.report.Took = time.Since(begun)
	return &k.report, ctx.Err()
}

func (k *checker) records(ctx context.Context, c *store.Check, properties func(lane uint32) (ingest.Properties, bool)) error {
	r := &k.report
	for part, err := range c.Records() {
		if err != nil {
			return err
		}
		r.Gone += part.Gone
		if part.Gone == 0 {
			p, _ := properties(part.Lane)
			r.Records.add(&part)
			k.file(part.File).add(&part)
			k.table(TableName{p.Database, p.Table}).add(&part)
		}
		if err := k.read(ctx, part.Bytes); err != nil {
			return err
		}
	}
	r.Files, r.Tables = []FileTally{}, []TableTally{}
	for _, name := range slices.Sorted(maps.Keys(k.files)) {
		r.Files = append(r.Files, *k.files[name])
	}
	for _, name := range slices.SortedFunc(maps.Keys(k.tables), func(a, b TableName) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Table, b.Table))
	}) {
		r.Tables = append(r.Tables, *k.tables[name])
	}
	r.Records.Error = ""
	return nil
}

func (k *checker) file(name string) *FileTally {
	if k.files[name] == nil && len(k.files) >= mostFiles {
		name = OtherFiles
	}
	if k.files[name] == nil {
		k.files[name] = &FileTally{File: name}
	}
	return k.files[name]
}

func (k *checker) table(name TableName) *TableTally {
	if k.tables[name] == nil {
		k.tables[name] = &TableTally{Database: name.Database, Table: name.Table}
	}
	return k.tables[name]
}

func (k *checker) letters(ctx context.Context, c *store.Check) error {
	d := &k.report.Dead
	for letter, err := range c.DeadLetters() {
		if err != nil {
			return err
		}
		d.Read++
		d.Bytes += letter.Bytes
		if letter.Err == nil {
			d.Good++
			d.Records += letter.Records
		} else if d.Bad++; len(d.Errors) < mostErrors {
			d.Errors = append(d.Errors, LetterError{letter.File, letter.Err.Error()})
		}
		if err := k.read(ctx, letter.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// read tells of what was read, and waits where that was too fast.
func (k *checker) read(ctx context.Context, bytes int64) error {
	r := &k.report
	if k.progress != nil {
		k.progress(CheckProgress{Bytes: r.Records.Bytes + r.Dead.Bytes, Total: k.total, Records: r.Records.Read, Bad: r.Records.Bad})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return k.pace.wait(ctx, bytes)
}

// books compares the counters with each other and with what was read.
func (k *checker) books(c *store.Check) {
	r, n := &k.report, &c.Stats
	say := func(format string, args ...any) {
		if len(r.Books) < mostErrors {
			r.Books = append(r.Books, fmt.Sprintf(format, args...))
		}
	}
	if sum := n.Open + n.Sealed + n.Ingested + n.Skipped + n.HandedOver + n.DeadLettered + n.Dropped; sum != n.Acked {
		say("%d records were acknowledged, and the books account for %d", n.Acked, sum)
	}
	if waiting := n.Open + n.Sealed; waiting != r.Records.Waiting+r.Gone {
		say("%d records wait by the books, and %d were met", waiting, r.Records.Waiting+r.Gone)
	}
	for e, err := range c.History() {
		switch {
		case err != nil:
			say("history: %v", err)
		case !e.State.Final():
			say("history: batch %s is %s, which is not final", e.Batch.ID, e.State)
		}
	}
}

// checkPace keeps a reader below a rate.
type checkPace struct {
	rate  int64 // bytes a second; 0 for any
	since time.Time
	bytes int64
}

// pauseLeast is the shortest pause that is worth one.
const pauseLeast = 20 * time.Millisecond

// wait waits until so many more bytes are within the rate.
func (p *checkPace) wait(ctx context.Context, bytes int64) error {
	if p.rate == 0 {
		return nil
	}
	p.bytes += bytes
	ahead := time.Duration(float64(p.bytes)/float64(p.rate)*float64(time.Second)) - time.Since(p.since)
	if ahead < pauseLeast {
		if ahead < -time.Second { // it was slow, and does not make up for it
			p.since, p.bytes = time.Now(), 0
		}
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
