package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"kustospool/ingest"
	"kustospool/transport"
)

// chunk is how much a Payload's reader gives at most in one Read: an odd
// number, so that no buffer size of a transport meets it by luck.
const chunk = 4093

// Payload is a [transport.Payload] in memory. It watches its readers: see
// Unclosed and LateReads. Set the exported fields before use.
type Payload struct {
	Data []byte
	// FailAt and Err make reading end in Err instead of what stands at that
	// offset; with FailAt equal to the size Err takes the place of io.EOF.
	// They work when Err is not nil.
	FailAt int
	Err    error
	// OnRead, when not nil, is called before each Read with its offset.
	OnRead func(offset int)

	// mu guards everything below.
	mu       sync.Mutex
	unclosed int
	returned bool
	late     int
}

// Bytes is a Payload of data.
func Bytes(data []byte) *Payload { return &Payload{Data: data} }

// Size is the number of bytes.
func (p *Payload) Size() int64 { return int64(len(p.Data)) }

// Open starts a reader that gives a few kilobytes at a time.
func (p *Payload) Open() io.ReadCloser {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unclosed++
	if p.returned {
		p.late++
	}
	return &payloadReader{p: p}
}

// Return tells the payload that Send has returned: from now on every Open and
// Read is late.
func (p *Payload) Return() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned = true
}

// Unclosed is the number of readers that were opened and not closed.
func (p *Payload) Unclosed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unclosed
}

// LateReads is the number of calls that came after Return.
func (p *Payload) LateReads() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

type payloadReader struct {
	p      *Payload
	offset int
	closed bool
}

func (r *payloadReader) Read(b []byte) (int, error) {
	if r.p.OnRead != nil {
		r.p.OnRead(r.offset)
	}
	r.p.mu.Lock()
	if r.p.returned {
		r.p.late++
	}
	r.p.mu.Unlock()
	if r.closed {
		return 0, errors.New("read of a closed payload reader")
	}
	end := len(r.p.Data)
	if r.p.Err != nil {
		end = min(end, r.p.FailAt)
	}
	if r.offset == end {
		if r.p.Err != nil {
			return 0, r.p.Err
		}
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), chunk)], r.p.Data[r.offset:end])
	r.offset += n
	return n, nil
}

func (r *payloadReader) Close() error {
	if !r.closed {
		r.closed = true
		r.p.mu.Lock()
		r.p.unclosed--
		r.p.mu.Unlock()
	}
	return nil
}

// Journal is a [transport.Journal] in memory that remembers every call. Set
// the exported fields before use.
type Journal struct {
	// OnNote and OnCommit, when not nil, are called first; an error is what
	// the call returns. The progress counts as written even then, as after a
	// crash that came between the write and its answer.
	OnNote, OnCommit func(progress []byte) error

	// mu guards everything below.
	mu      sync.Mutex
	notes   [][]byte
	commits [][]byte
	last    []byte
}

// Note records progress.
func (j *Journal) Note(ctx context.Context, progress []byte) error {
	j.record(&j.notes, progress)
	return j.answer(ctx, j.OnNote, progress)
}

// Commit records progress.
func (j *Journal) Commit(ctx context.Context, progress []byte) error {
	j.record(&j.commits, progress)
	return j.answer(ctx, j.OnCommit, progress)
}

func (j *Journal) record(list *[][]byte, progress []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = slices.Clone(progress)
	*list = append(*list, j.last)
}

func (j *Journal) answer(ctx context.Context, hook func([]byte) error, progress []byte) error {
	if len(progress) > transport.MaxProgressBytes {
		return errors.New("progress is larger than transport.MaxProgressBytes")
	}
	if hook != nil {
		if err := hook(progress); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Last is the progress of the last call: what the next attempt gets back.
func (j *Journal) Last() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.last)
}

// Notes is the number of Note calls.
func (j *Journal) Notes() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.notes)
}

// Commits is the number of Commit calls.
func (j *Journal) Commits() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.commits)
}

// written is every progress that was written.
func (j *Journal) written() [][]byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Concat(j.notes, j.commits)
}

// Join is the payload of records of a line format: each followed by a newline.
func Join(records []string) []byte {
	return []byte(strings.Join(records, "\n") + "\n")
}

// Split undoes Join, so that a harness can answer for Rows with the payloads
// it finds. The payload of a format that does not concatenate is one row.
func Split(p ingest.Properties, payload []byte) []string {
	if !p.Concatenates() {
		return []string{string(payload)}
	}
	payload = bytes.TrimSuffix(payload, []byte("\n"))
	if len(payload) == 0 {
		return nil
	}
	return strings.Split(string(payload), "\n")
}
