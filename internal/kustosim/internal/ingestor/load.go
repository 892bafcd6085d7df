package ingestor

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
)

// Compressed data may become maxRatio times its size, and always freeRaw bytes.
// Logs that repeat themselves compress a hundred times; deflate can do a thousand
// times, with which less than a megabyte would take a gigabyte of memory. The
// bound is the simulator's own: the service documents none.
const (
	maxRatio = 200
	freeRaw  = 64 << 20
)

// presize is the most that a buffer is made for on the word of a message.
const presize = 64 << 20

// gzipMagic begins every gzip file.
const gzipMagic = "\x1f\x8b"

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
	content := bufio.NewReader(body)
	// The Go client's managed streaming queues what it compressed already under a
	// name that ends in the format, and its tests against the service find the rows.
	magic, _ := content.Peek(len(gzipMagic)) // a shorter blob is none
	compressed := strings.HasSuffix(name, ".gz") || string(magic) == gzipMagic
	var parts [][]byte
	switch {
	case compressed && !in.treatGzAs && in.format.Compressible():
		packed := &counter{from: content}
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, parse.Permanentf("BadRequest_InvalidBlob", "the blob's name ends in .gz but it is not gzip")
		}
		data, bad := g.readRaw(&inflated{from: z, packed: packed}, in.RawDataSize.value, g.MaxBlobBytes)
		if bad != nil {
			return nil, bad
		}
		parts = [][]byte{data}
	case strings.HasSuffix(name, ".zip"):
		data, bad := g.readRaw(content, size, g.MaxBlobBytes)
		if bad != nil {
			return nil, bad
		}
		if parts, bad = g.unzip(data, in); bad != nil {
			return nil, bad
		}
	default:
		data, bad := g.readRaw(content, size, g.MaxBlobBytes)
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

// counter counts what is read through it.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

var errOutOfProportion = errors.New("the raw data is out of proportion to the compressed data")

// inflated reads what a decompressor gives for as long as that is in proportion
// to what has gone into it.
type inflated struct {
	from   io.Reader
	packed *counter
	raw    int64
}

func (r *inflated) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.raw += int64(n)
	if r.raw > freeRaw && r.raw > maxRatio*r.packed.n {
		return n, errOutOfProportion
	}
	return n, err
}

// readRaw reads all of r, at most limit bytes. hint is how much it may be.
func (g *Ingestor) readRaw(r io.Reader, hint, limit int64) ([]byte, *parse.Error) {
	var buf bytes.Buffer
	buf.Grow(int(max(min(hint, limit, presize), 0)) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	switch {
	case errors.Is(err, errOutOfProportion):
		return nil, parse.Permanentf("Stream_InputStreamTooLarge", "the raw data is over %d bytes and over %d times the compressed data", freeRaw, maxRatio)
	case err != nil:
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
	left := g.MaxBlobBytes // of the raw data of all files
	all := &inflated{packed: &counter{}}
	for _, f := range archive.File {
		if f.FileInfo().IsDir() || in.zipPattern != nil && !in.zipPattern.MatchString(f.Name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, parse.Permanentf("BadRequest_InvalidArchive", "a file of the archive cannot be read")
		}
		all.from = r
		all.packed.n = min(all.packed.n+int64(min(f.CompressedSize64, 1<<40)), int64(len(data))) // what a header says may be false
		part, bad := g.readRaw(all, 0, left)
		r.Close()
		if bad != nil {
			return nil, bad
		}
		left -= int64(len(part))
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
