package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"

	"kustospool/ingest"
	"kustospool/transport"
)

// Description is what a properties file holds, as JSON.
type Description struct {
	Batch      ingest.BatchID    `json:"batch"`
	File       string            `json:"file"` // the payload's name in the same directory
	Lane       uint32            `json:"lane"`
	First      uint64            `json:"first"`
	Last       uint64            `json:"last"`
	RawBytes   int64             `json:"rawBytes"` // before compression
	Guarantee  string            `json:"guarantee"`
	IngestBy   string            `json:"ingestBy,omitempty"` // the value for ingestIfNotExists
	SealedAt   time.Time         `json:"sealedAt"`
	Properties ingest.Properties `json:"properties"`
}

func writeProperties(table, base, payload string, b *ingest.Batch) error {
	data, err := json.MarshalIndent(Description{
		Batch: b.ID, File: payload, Lane: b.Lane, First: b.First, Last: b.Last, RawBytes: b.RawBytes,
		Guarantee: b.Guarantee.String(), IngestBy: b.IngestBy(), SealedAt: b.SealedAt, Properties: b.Properties,
	}, "", "\t")
	if err != nil {
		return err
	}
	name := base + ".properties.json"
	temp := filepath.Join(table, tempPrefix+name)
	err = writeFile(temp, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	if err == nil {
		err = os.Rename(temp, filepath.Join(table, name))
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncDir(table)
}

// readError marks an error that the payload gave, and not the disk written to.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// writePayload writes the payload into a new file and syncs it. It returns the
// size of the file.
func writePayload(ctx context.Context, path string, p transport.Payload, compress bool) (size int64, err error) {
	err = writeFile(path, func(f io.Writer) error {
		counted := &countingWriter{w: f}
		var w io.Writer = counted
		var z *gzip.Writer
		if compress {
			z = gzip.NewWriter(counted)
			w = z
		}
		if err := copyPayload(ctx, w, p); err != nil {
			return err
		}
		if z != nil {
			if err := z.Close(); err != nil {
				return err
			}
		}
		size = counted.n
		return nil
	})
	return size, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// copyPayload is io.Copy that can be cut off and tells whose the error is.
func copyPayload(ctx context.Context, w io.Writer, p transport.Payload) error {
	r := p.Open()
	defer r.Close()
	buf := make([]byte, 256<<10) // lent to files and to a compressor, which keep nothing of it
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		total += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return &readError{err}
		}
	}
	if total != p.Size() {
		return &readError{fmt.Errorf("payload ended after %d of %d bytes: %w", total, p.Size(), io.ErrUnexpectedEOF)}
	}
	return nil
}

// writeFile makes a file, mode 0600, and returns when what write wrote is on
// stable storage under that name but for the directory's entry.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// makeDir makes one directory, mode 0700, durably. One that is there is fine.
func makeDir(path string) error {
	err := os.Mkdir(path, 0o700)
	if err == nil {
		return syncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: path, Err: errTaken}
	}
	return err
}

// errTaken: the name belongs to something of another kind.
var errTaken = errors.New("the name is taken by something else")

// exists reports whether a regular file has the name.
func exists(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, &fs.PathError{Op: "open", Path: path, Err: errTaken}
	}
	return true, nil
}

// classify says what a file system error means; denied is the class where
// permission is missing.
func classify(op string, err error, denied transport.Class) error {
	e := &transport.Error{Op: op, Class: transport.Transient, Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Class = denied
	case errors.Is(err, errTaken):
		e.Class = transport.Held
	}
	return e
}

func unknown(op string, err error) error {
	return &transport.Error{Op: op, Class: transport.Unknown, Err: err}
}
