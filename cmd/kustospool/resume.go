package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/engine"
	"kustospool/ingest"
)

// What of a file is stored is a position of the spool, which is durable in the
// same commit as the records. A run that was cut is continued by it.
const (
	markPrefix = "send/"
	// maxMarks is of how many files a spool remembers that. A store has 1024
	// positions, and those of others are to have room.
	maxMarks = 512
)

// mark is up to where a file is stored.
type mark struct {
	File     string          `json:"file"` // its name, for people
	Identity string          `json:"id,omitempty"`
	Size     int64           `json:"size"`   // of the file
	Offset   int64           `json:"offset"` // unpacked, behind the last record stored
	Begins   input.Beginning `json:"begins"`
	Done     bool            `json:"done,omitempty"`
	At       time.Time       `json:"at"`
}

// resumption is what is known of one input before it is stored, and what its
// marks will have.
type resumption struct {
	name  string // of the position; empty where the input has none
	mark  mark   // the next one
	from  int64  // where to go on; 0 is at its beginning
	whole bool   // an earlier run has stored it
}

// position is the mark's, with the offset that is reached; none where nothing
// is stored.
func (r *resumption) position(offset int64, begins input.Beginning, done bool) ([]ingest.Position, error) {
	if r.name == "" || offset == 0 {
		return nil, nil
	}
	m := r.mark
	m.Offset, m.Begins, m.Done, m.At = offset, begins, done, time.Now().UTC()
	value, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return []ingest.Position{{Name: r.name, Value: value}}, nil
}

// markName is the position's of a file that goes into one table with one set
// of properties. One that the command names several times has several.
func markName(path string, p ingest.Properties, times int) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(struct {
		Path       string
		Properties ingest.Properties
		Times      int
	}{abs, p, times})
	sum := sha256.Sum256(b)
	return markPrefix + hex.EncodeToString(sum[:16]), err
}

// resume finds out what earlier runs have stored of the inputs. With again
// that does not count.
func (in *intake) resume(s *engine.Spool, again bool) error {
	in.resumed = make([]resumption, len(in.sources))
	times := make(map[string]int)
	for i := range in.sources {
		src, r := &in.sources[i], &in.resumed[i]
		if src.Stream() {
			continue
		}
		name, err := markName(src.Name, in.tables[src.Format].Properties(), 0)
		if err != nil {
			return err
		}
		times[name]++
		if times[name] > 1 {
			if name, err = markName(src.Name, in.tables[src.Format].Properties(), times[name]-1); err != nil {
				return err
			}
		}
		file := strings.ToValidUTF8(filepath.Base(src.Name), "?")
		if len(file) > 100 {
			file = strings.ToValidUTF8(file[:100], "")
		}
		r.name, r.mark = name, mark{File: file, Identity: src.Identity(), Size: src.Size()}
		pos, ok := s.Position(name)
		if !ok || again {
			continue
		}
		if err := r.since(src, pos.Value); err != nil {
			return err
		}
		in.inputs[i].EarlierBytes, in.inputs[i].Earlier = r.from, r.whole
	}
	return nil
}

// since compares an input with what an earlier run has stored under its name.
func (r *resumption) since(src *input.Source, value []byte) error {
	var was mark
	if err := json.Unmarshal(value, &was); err != nil || was.Offset <= 0 {
		return &input.Error{File: src.Name, Err: errors.New("what the spool remembers of it cannot be read; --again sends it whole")}
	}
	now, err := src.Beginning(was.Begins.Bytes)
	if err != nil {
		return err
	}
	object := src.Whole() || src.Archive()
	switch {
	case now != was.Begins:
		return nil // another file
	case object && was.Size != src.Size():
		return nil // another object
	case was.Offset > was.Begins.Bytes && was.Identity != r.mark.Identity:
		return &input.Error{File: src.Name, Err: fmt.Errorf("is another file than the one that an earlier run has stored up to byte %d, and begins like it; --again sends it whole", was.Offset)}
	case was.Done && was.Size == src.Size():
		r.whole = true
	default:
		r.from = was.Offset
	}
	return nil
}

// makeRoom forgets marks, finished ones first and the oldest of them, so that
// there are few when the input gets its own.
func makeRoom(ctx context.Context, s *engine.Spool, name string) error {
	if _, ok := s.Position(name); ok || name == "" {
		return nil
	}
	type old struct {
		name string
		mark mark
	}
	var marks []old
	for _, pos := range s.Positions() {
		if strings.HasPrefix(pos.Name, markPrefix) {
			m := old{name: pos.Name}
			_ = json.Unmarshal(pos.Value, &m.mark) // what cannot be read is the oldest
			marks = append(marks, m)
		}
	}
	if len(marks) < maxMarks {
		return nil
	}
	slices.SortFunc(marks, func(a, b old) int {
		if a.mark.Done != b.mark.Done {
			if a.mark.Done {
				return -1
			}
			return 1
		}
		return cmp.Or(a.mark.At.Compare(b.mark.At), strings.Compare(a.name, b.name))
	})
	for _, m := range marks[:len(marks)-maxMarks+1] {
		if err := s.RemovePosition(ctx, m.name); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
	}
	return nil
}
