package ingestor

import (
	"bufio"
	"context"
	"net/url"
	"strings"

	"github.com/klauspost/compress/gzip"

	"kustospool/internal/kustosim/internal/parse"
)

// TooLarge is the code of data over a limit.
const TooLarge = "Stream_InputStreamTooLarge"

// Blob reads the raw data of one blob, at most limit bytes, from wherever a queue
// message could name it: storage of the simulator, or a web server of BlobHosts.
// What is gzip by its content is unpacked.
func (g *Ingestor) Blob(ctx context.Context, uri string, limit int64) ([]byte, *parse.Error) {
	in := &ingestion{Message: &Message{}}
	address, access, _ := strings.Cut(uri, ";")
	in.access = access
	var err error
	if in.blob, err = url.Parse(address); err != nil || in.blob.Host == "" {
		return nil, parse.Permanentf("BadRequest_InvalidBlobUri", "the address of the blob is not a URI")
	}
	body, size, bad := g.fetch(ctx, in)
	if bad != nil {
		return nil, bad
	}
	defer body.Close()
	content := bufio.NewReader(body)
	magic, _ := content.Peek(len(gzipMagic)) // a shorter blob is none
	if string(magic) != gzipMagic {
		return g.readRaw(content, size, limit)
	}
	packed := &counter{from: content}
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, parse.Permanentf("BadRequest_InvalidBlob", "the blob is not gzip")
	}
	return g.readRaw(&inflated{from: z, packed: packed}, 0, limit)
}
