package ingestor

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
)

// presize is the most that a buffer is made for on the word of a message.
const presize = 64 << 20

// load downloads the blob of an ingestion and parses it into rows.
func (g *Ingestor) load(ctx context.Context, in *ingestion, t *parse.Target) ([]parse.Row, *parse.Error) {
	body, size, bad := g.fetch(ctx, in)
	if bad != nil {
		return nil, bad
	}
	defer body.Close()
	if size == 0 {
		return nil, parse.Permanentf("BadRequest_EmptyBlob", "the blob is empty")
	}
	name := strings.ToLower(path.Base(in.blob.Path))
	var parts [][]byte
	switch {
	case strings.HasSuffix(name, ".gz") && !in.treatGzAs && in.format.Compressible():
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, parse.Permanentf("BadRequest_InvalidBlob", "the blob's name ends in .gz but it is not gzip")
		}
		data, bad := g.readRaw(z, in.RawDataSize.value)
		if bad != nil {
			return nil, bad
		}
		parts = [][]byte{data}
	case strings.HasSuffix(name, ".zip"):
		data, bad := g.readRaw(body, size)
		if bad != nil {
			return nil, bad
		}
		if parts, bad = g.unzip(data, in); bad != nil {
			return nil, bad
		}
	default:
		data, bad := g.readRaw(body, size)
		if bad != nil {
			return nil, bad
		}
		parts = [][]byte{data}
	}
	raw := int64(0)
	for _, p := range parts {
		raw += int64(len(p))
	}
	if in.RawDataSize.set && in.RawDataSize.value != raw {
		g.Stats.Add(func(s *stats.Stats) { s.RawSizeMismatch++ })
	}
	var rows []parse.Row
	for _, p := range parts {
		more, bad := g.parse(in, p, t)
		if bad != nil {
			return nil, bad
		}
		rows = append(rows, more...)
	}
	if len(rows) == 0 {
		return nil, parse.Permanentf("BadRequest_NoRecordsOrWrongFormat", "the blob has no records, or another format than %s", in.format)
	}
	return rows, nil
}

func (g *Ingestor) readRaw(r io.Reader, hint int64) ([]byte, *parse.Error) {
	limit := g.MaxBlobBytes
	var buf bytes.Buffer
	buf.Grow(int(max(min(hint, limit, presize), 0)) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, parse.Permanentf("BadRequest_InvalidBlob", "the blob ends early or its compression is damaged")
	}
	if n > limit {
		return nil, parse.Permanentf("Stream_InputStreamTooLarge", "the raw data is over %d bytes", limit)
	}
	return buf.Bytes(), nil
}

// unzip reads the files of an archive that match the zipPattern, in order.
func (g *Ingestor) unzip(data []byte, in *ingestion) ([][]byte, *parse.Error) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, parse.Permanentf("BadRequest_InvalidArchive", "the blob's name ends in .zip but it is no archive")
	}
	var parts [][]byte
	for _, f := range archive.File {
		if f.FileInfo().IsDir() || in.zipPattern != nil && !in.zipPattern.MatchString(f.Name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, parse.Permanentf("BadRequest_InvalidArchive", "a file of the archive cannot be read")
		}
		part, bad := g.readRaw(r, 0)
		r.Close()
		if bad != nil {
			return nil, bad
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil, parse.Permanentf("BadRequest_EmptyArchive", "the archive has no file to ingest")
	}
	return parts, nil
}

// parse makes rows of data, and counts the lines that were passed over.
func (g *Ingestor) parse(in *ingestion, data []byte, t *parse.Target) ([]parse.Row, *parse.Error) {
	rows, malformed, bad := t.Records(data, in.format, in.skipFirst, g.FailMalformedJSON)
	g.Stats.Add(func(s *stats.Stats) { s.MalformedLines += malformed })
	return rows, bad
}
