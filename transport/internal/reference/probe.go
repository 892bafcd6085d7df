package reference

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kustospool/ingest"
)

// compressedFactor is what the official clients take for the size of
// compressed data before compression (protocol reference section 13).
const compressedFactor = 11

// probeTimeout bounds the probe: a size is worth little, and a host that does
// not answer must not hold up what does not need it.
const probeTimeout = 10 * time.Second

// storageVersion is of the Head Blob request. A version is needed for a SAS of
// later versions to be understood.
const storageVersion = "2020-10-02"

// sizeMetadata are the names under which a blob's raw size is known to the
// service (protocol reference section 4.6).
var sizeMetadata = []string{"rawSizeBytes", "kustoUncompressedSizeBytes"}

// probe asks storage for the raw size of a blob, 0 where it cannot be learned.
// A SAS that lets the service read lets this be asked; where only the service
// has access, and for addresses that are not HTTP, nothing is sent.
func (r *Resolver) probe(ctx context.Context, address string) int64 {
	u, err := url.Parse(address)
	if err != nil || strings.Contains(address, ";") || u.Scheme != "https" && !(u.Scheme == "http" && ingest.IsLoopback(u.Hostname())) {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("x-ms-version", storageVersion)
	resp, err := r.Wire.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	for _, name := range sizeMetadata {
		if n, err := strconv.ParseInt(resp.Header.Get("x-ms-meta-"+name), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	n := max(resp.ContentLength, 0)
	name := strings.ToLower(u.Path)
	if (strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".zip")) && n < 1<<56 {
		n *= compressedFactor
	}
	return n
}
