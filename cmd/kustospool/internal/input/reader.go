package input

import (
	"errors"
	"io"
	"strings"
	"sync"
	"weak"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/ingest/content"
	"kustospool/ingest/record"
)

// Item is a record, or bytes that are none.
type Item struct {
	Data []byte // valid until the next call
	// Why, where it is not empty, says that Data is no record, with file and line.
	Why string
}

// Reader gives out the records of one input whose format concatenates. It is not safe for two
// goroutines at once.
type Reader struct {
	name   string
	in     *record.Reader
	tap    *tap
	closer io.Closer
	policy engine.BadRecordPolicy
	first  error         // the first bad record that was passed over
	counts record.Counts // of one that is closed
}

// Next is the next record, without its line ending. The error is [io.EOF]
// after the last record and an [Error] otherwise; after an error there is no
// use in going on. What is no record is an Error, is passed over and counted,
// or is given out with its reason, as the source's policy says.
func (r *Reader) Next() (Item, error) {
	for {
		p, err := r.in.Next()
		if err != nil {
			return Item{}, err
		}
		if p.Kind == record.Good {
			return Item{Data: p.Data}, nil
		}
		bad := &Error{File: r.name, Line: p.Line, Err: inFlags(p.Fault)}
		switch {
		case p.Fault.Fatal || r.policy == engine.StopAtBadRecord:
			return Item{}, bad
		case r.policy == engine.DeadLetterBadRecords:
			return Item{Data: p.Data, Why: bad.Error()}, nil
		}
		if r.first == nil {
			r.first = bad
		}
	}
}

// Counts are of what was given out and passed over so far.
func (r *Reader) Counts() record.Counts {
	if r.in == nil {
		return r.counts
	}
	return r.in.Counts()
}

// FirstSkipped says of the first bad record that was passed over where it is
// and why; nil where there is none.
func (r *Reader) FirstSkipped() error { return r.first }

// Ready reports whether the next record is in memory already. Where it is not,
// the next call of Next may wait for whoever writes the input.
func (r *Reader) Ready() bool { return r.in.Ready() }

// Close closes the file. What Next gave is not valid any more, and nothing else is to be read.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	c := r.closer
	r.closer = nil
	buf := r.in.Buffer
	r.in.Buffer, r.counts, r.in = nil, r.in.Counts(), nil
	giveBuffer(buf)
	return c.Close()
}

// spare is the buffer of the reader that was closed last: a file is checked
// before it is stored, and needs room for its largest record both times. The collector may
// take it meanwhile. A sync.Pool would often miss it, on another processor.
var spare struct {
	mu     sync.Mutex
	buffer weak.Pointer[[]byte] // guarded by mu
}

func takeBuffer() []byte {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	p := spare.buffer.Value()
	spare.buffer = weak.Pointer[[]byte]{}
	if p == nil {
		return nil
	}
	return *p
}

func giveBuffer(b []byte) {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	spare.buffer = weak.Make(&b)
}

// rule is how the source's format is cut.
func (s *Source) rule() record.Rule {
	p := ingest.Properties{Format: s.Format}
	rule := p.Rule()
	rule.Unchecked = s.Unchecked && (rule.Cut == record.JSONLines || rule.Cut == record.Documents)
	return rule
}

// read begins to cut what r holds; name is for errors.
func (s *Source) read(name string, r io.Reader, closer io.Closer) *Reader {
	t := &tap{r: r}
	in := record.NewReader(t, s.rule())
	in.SkipHeader, in.Buffer = s.SkipHeader, takeBuffer()
	return &Reader{name: name, in: in, tap: t, closer: closer, policy: s.policy()}
}

// policy is what becomes of bad records: of a file they are found before
// anything is stored, and of a stream too late for that.
func (s *Source) policy() engine.BadRecordPolicy {
	switch {
	case s.OnBadRecord != 0:
		return s.OnBadRecord
	case s.Stream():
		return engine.DeadLetterBadRecords
	}
	return engine.StopAtBadRecord
}

// extent reads what r holds to its end.
func (r *Reader) extent() (Extent, error) {
	var x Extent
	for {
		item, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Extent{}, errors.Join(err, r.Close())
		}
		x.Records++
		x.Bytes += int64(len(item.Data))
	}
	x.Blank = r.Counts().Blank
	return x, r.Close()
}

// inFlags is a fault with its hint in the words of the flags.
func inFlags(f *record.Fault) error {
	return errors.New(strings.Replace(f.Error(), "use the format multijson", "give --format multijson", 1))
}

// misfit says in the words of the flags what an input is instead.
func misfit(m *content.Mismatch) error {
	text := m.What()
	switch {
	case m.Fits != "":
		text += "; give --format " + string(m.Fits)
	case m.Kind == content.Gzip:
		text += "; give --gzip, or a name that ends in .gz"
	case m.Advice() != "":
		text += "; " + m.Advice()
	}
	return errors.New(text)
}
