package ingestor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/storage"
)

// sourceTimeout bounds the download of a blob from a web server.
const sourceTimeout = time.Minute

// newWeb is a client that keeps no connection and follows no redirect.
func newWeb() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// fetch opens the blob of an ingestion, wherever it is (protocol reference
// section 4.5). size is -1 where it is not known.
func (g *Ingestor) fetch(ctx context.Context, in *ingestion) (body io.ReadCloser, size int64, bad *parse.Error) {
	if slices.Contains(g.BlobHosts, in.blob.Host) {
		return g.get(ctx, in)
	}
	uri := in.blob
	if in.access != "" {
		if !slices.Contains(g.BlobAccess, in.access) {
			if strings.HasPrefix(in.access, "managed_identity=") {
				return nil, 0, parse.Permanentf("BadRequest_InvalidManagedIdentity", "the managed identity is unknown")
			}
			return nil, 0, parse.Permanentf("Download_Forbidden", "the access that the blob's URI names is refused")
		}
		var err error
		if uri, err = g.storage.Signed(in.blob); err != nil {
			return nil, 0, parse.Transientf("General_InternalServerError", "a signature cannot be made")
		}
	}
	body, size, err := g.storage.Download(ctx, uri)
	var refused *storage.Error
	switch {
	case errors.As(err, &refused):
		return nil, 0, downloadError(refused.Status, refused.Code)
	case errors.Is(err, storage.ErrBlobURI):
		return nil, 0, parse.Permanentf("BadRequest_InvalidBlobUri", "BlobPath is not the URI of a blob")
	case err != nil:
		return nil, 0, parse.Transientf("Download_UnknownError", "storage did not answer")
	}
	return body, size, nil
}

// get downloads from a web server of BlobHosts.
func (g *Ingestor) get(ctx context.Context, in *ingestion) (io.ReadCloser, int64, *parse.Error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.blob.String(), nil)
	if err != nil {
		cancel()
		return nil, 0, parse.Permanentf("BadRequest_InvalidBlobUri", "BlobPath is no URI that can be fetched")
	}
	resp, err := g.web.Do(req)
	if err != nil {
		cancel()
		return nil, 0, parse.Transientf("Download_UnknownError", "the web server did not answer")
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel()
		return nil, 0, downloadError(resp.StatusCode, resp.Status)
	}
	return &webBody{resp.Body, cancel}, resp.ContentLength, nil
}

// webBody ends its request's context when it is closed.
type webBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *webBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// downloadError turns a storage reply into the code an ingestion fails with.
func downloadError(status int, code string) *parse.Error {
	switch {
	case code == "AccountNotFound":
		return parse.Permanentf("Download_AccountNotFound", "the storage account of the blob was not found")
	case status == http.StatusNotFound:
		return parse.Permanentf("Download_SourceNotFound", "the blob was not found (%s)", code)
	case status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusConflict:
		return parse.Permanentf("Download_Forbidden", "the blob could not be read (%s)", code)
	case status >= 500 || status == http.StatusTooManyRequests:
		return parse.Transientf("Download_UnknownError", "storage answered %d (%s)", status, code)
	default:
		return parse.Permanentf("Download_BadRequest", "storage answered %d (%s)", status, code)
	}
}
