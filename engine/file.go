package engine

import (
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kustospool/ingest"
)

// IngestFile is [Spool.IngestReader] of a file. Where p has no format the name
// tells it ([ingest.FormatOf]).
//
// A name that ends in .gz is decompressed on the way in, and so are the files
// of a .zip archive: the raw size is then known, files over one batch can be
// cut, and the transport compresses again, under the right name, what is worth
// it. An encrypted or deflate64 archive is an error. With ZipPattern the
// archive itself is the object, and its own size the raw size.
//
// Each file of an archive is cut for itself; one of a format that does not
// concatenate is an object each. All of it is stored, under one receipt, or
// nothing.
func (s *Spool) IngestFile(ctx context.Context, p ingest.Properties, path string, at ...ingest.Position) (ingest.Receipt, error) {
	if p.Format == "" {
		f, ok := ingest.FormatOf(filepath.Base(path))
		if !ok {
			return ingest.Receipt{}, &ingest.FieldError{Field: "format", Rule: fmt.Sprintf("must be given: the name %q does not tell it", filepath.Base(path))}
		}
		p.Format = f
	}
	f, err := os.Open(path)
	if err != nil {
		return ingest.Receipt{}, err
	}
	defer f.Close()
	return s.ingestSources(ctx, p, at, func(in *intake) error { return in.takeFile(f, strings.ToLower(path)) })
}

func (in *intake) takeFile(f *os.File, name string) error {
	switch {
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("reading the source as gzip: %w", err)
		}
		return errors.Join(in.take(z), z.Close())
	case strings.HasSuffix(name, ".zip") && in.p.ZipPattern == "":
		return in.takeArchive(f)
	}
	return in.take(f)
}

func (in *intake) takeArchive(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return fmt.Errorf("reading the source as zip: %w", err)
	}
	for _, entry := range z.File {
		if entry.FileInfo().IsDir() {
			continue
		}
		r, err := entry.Open()
		if err == nil {
			err = errors.Join(in.take(io.Reader(r)), r.Close())
		}
		if err != nil {
			return fmt.Errorf("%s in the archive: %w", entry.Name, err)
		}
	}
	return nil
}
