package reference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// Op is the operation that errors name.
const Op = "blob reference"

// CodeSecret is the code of a secret that cannot be had.
const CodeSecret = "BlobSecret"

// maxReference bounds what is read of a payload.
const maxReference = 4 * ingest.MaxBlobURIBytes

// Source is a blob as the service is told of it.
type Source struct {
	URL     string // with what gives access: a secret
	Plain   string // without
	RawSize int64  // 0: unknown
}

// Resolver resolves references. The zero value but for Wire asks for no secret
// and probes sizes.
type Resolver struct {
	Wire *kusto.Wire
	// Secret is a client's BlobSecret; nil means that URIs are complete.
	Secret func(ctx context.Context, blob string) (string, error)
	// Timeout bounds Secret; 0 leaves that to the context of the call.
	Timeout time.Duration
	// NoProbe leaves unknown sizes unknown.
	NoProbe bool
	// Secrets gets to know what Secret returns.
	Secrets *kusto.Secrets
}

// Resolve reads the batch's payload. What takes too long here is this blob's
// matter, and says nothing of the destination: only the end of ctx does.
func (r *Resolver) Resolve(ctx context.Context, p transport.Payload) (Source, error) {
	b, err := read(p)
	if err != nil {
		return Source{}, err
	}
	s := Source{URL: b.URI, Plain: plain(b.URI), RawSize: b.RawSize}
	if b.Access() == "" && r.Secret != nil {
		if s.URL, err = r.secret(ctx, b.URI); err != nil {
			return Source{}, err
		}
	}
	if s.RawSize == 0 && !r.NoProbe {
		s.RawSize = r.probe(ctx, s.URL)
	}
	return s, nil
}

// secret is a URI with its secret.
func (r *Resolver) secret(ctx context.Context, uri string) (string, error) {
	e := &transport.Error{Op: Op, Class: transport.Held, Code: CodeSecret}
	sctx := ctx
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		sctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	var secret string
	err := transport.Guard("BlobSecret", func() (err error) {
		secret, err = r.Secret(sctx, uri)
		return err
	})
	r.Secrets.Supplied(secret)
	if err == nil {
		if full, ok := join(uri, secret); ok {
			return full, nil
		}
		e.Message = "the secret of the blob is neither a query nor a suffix that begins with a semicolon"
		return "", e
	}
	e.Message = "the secret of the blob cannot be had: the client's BlobSecret failed"
	if _, ok := errors.AsType[*transport.PanicError](err); ok { // its words may hold what it was about to return
		e.Message = "the secret of the blob cannot be had: the client's BlobSecret panicked"
	}
	if ctx.Err() != nil { // the call was cut off, whatever the source made of that
		e.Class, e.Message, e.Err = transport.Transient, "not begun: "+ctx.Err().Error(), ctx.Err()
	}
	return "", e
}

// read is the reference that a payload is.
func read(p transport.Payload) (ingest.Blob, error) {
	f := p.Open()
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxReference+1))
	if err != nil {
		return ingest.Blob{}, fmt.Errorf("read payload: %w", err)
	}
	if int64(len(text)) != p.Size() && len(text) <= maxReference {
		return ingest.Blob{}, fmt.Errorf("read payload: it ends after %d of %d bytes: %w", len(text), p.Size(), io.ErrUnexpectedEOF)
	}
	b, err := ingest.ParseBlob(text)
	if err != nil {
		return ingest.Blob{}, &transport.Error{Op: Op, Class: transport.Permanent, Code: "Reference", Message: err.Error()}
	}
	return b, nil
}

// plain is a valid URI for logs and reports: without query and access.
func plain(uri string) string {
	if i := strings.IndexAny(uri, "?;"); i >= 0 {
		return uri[:i]
	}
	return uri
}

// join puts a secret behind a URI: a query, with or without its question mark,
// or a suffix that begins with a semicolon. An empty one changes nothing.
func join(uri, secret string) (string, bool) {
	switch {
	case secret == "":
		return uri, true
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "", false
	case strings.HasPrefix(secret, ";"):
		return uri + secret, true
	}
	query, _, _ := strings.Cut(strings.TrimPrefix(secret, "?"), ";")
	if !strings.Contains(query, "=") {
		return "", false
	}
	if _, err := url.ParseQuery(query); err != nil {
		return "", false
	}
	mark := "?"
	if strings.Contains(uri, "?") {
		mark = "&"
	}
	return uri + mark + strings.TrimPrefix(secret, "?"), true
}
