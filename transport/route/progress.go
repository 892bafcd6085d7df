package route

import (
	"bytes"
	"context"
	"fmt"

	"kustospool/transport"
)

// mark begins a progress that a Router wrote. No transport's own progress
// begins with a zero byte. Behind it stand one byte that says whether the batch
// belongs to the transport, the length of its name, the name, and the
// transport's own progress.
var mark = []byte("\x00route1")

const (
	belongs = 'b' // rows may have appeared, or may yet
	free    = 'f' // none did
)

// wrap names the transport in front of its progress.
func wrap(name string, state byte, progress []byte) []byte {
	b := make([]byte, 0, len(mark)+2+len(name)+len(progress))
	b = append(b, mark...)
	b = append(b, state, byte(len(name)))
	b = append(b, name...)
	return append(b, progress...)
}

// unwrap reads what wrap wrote; false for a progress that is of no Router, or
// that is damaged.
func unwrap(b []byte) (name string, state byte, progress []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, mark)
	if !ok || len(rest) < 2 || rest[0] != belongs && rest[0] != free {
		return "", 0, nil, false
	}
	n := int(rest[1])
	if n > len(rest)-2 || !validName(string(rest[2:2+n])) {
		return "", 0, nil, false
	}
	return string(rest[2 : 2+n]), rest[0], rest[2+n:], true
}

// journal writes the transport's name before each of its intents.
type journal struct {
	transport.Journal
	name string

	// Owned by the goroutine that runs the attempt.
	state     byte
	committed bool // in this attempt
	last      []byte
}

func (j *journal) wrapped(progress []byte, state byte) ([]byte, error) {
	if len(progress) > transport.MaxProgressBytes {
		return nil, fmt.Errorf("route: the progress of transport %q has %d bytes; the limit is %d", j.name, len(progress), transport.MaxProgressBytes)
	}
	return wrap(j.name, state, progress), nil
}

// Note implements [transport.Journal].
func (j *journal) Note(ctx context.Context, progress []byte) error {
	b, err := j.wrapped(progress, j.state)
	if err != nil {
		return err
	}
	if err := j.Journal.Note(ctx, b); err != nil {
		return err
	}
	j.last = bytes.Clone(progress)
	return nil
}

// Commit implements [transport.Journal]. From here on the batch belongs to the
// transport.
func (j *journal) Commit(ctx context.Context, progress []byte) error {
	b, err := j.wrapped(progress, belongs)
	if err != nil {
		return err
	}
	if err := j.Journal.Commit(ctx, b); err != nil {
		return err
	}
	j.state, j.committed, j.last = belongs, true, bytes.Clone(progress)
	return nil
}

// release lets the batch go by the rules again, after an attempt that was
// refused for certain.
func (j *journal) release(ctx context.Context) error {
	b, err := j.wrapped(j.last, free)
	if err != nil {
		return err
	}
	return j.Journal.Note(context.WithoutCancel(ctx), b)
}
