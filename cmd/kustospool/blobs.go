package main

import (
	"context"
	"net/url"
	"os"
	"path"
	"strings"

	"kustospool/engine"
	"kustospool/ingest"
)

// blobSASVariable holds a SAS for every blob whose own URL brought none: that
// of a container or an account.
const blobSASVariable = "KUSTOSPOOL_BLOB_SAS"

// blobInput is a blob that the service is to fetch.
type blobInput struct {
	blob   ingest.Blob
	format ingest.Format
}

// blobInputs are the blobs of one run. Their secrets are in memory only.
type blobInputs struct {
	list    []blobInput
	secrets map[string]string // by Blob.URI
}

// isBlob tells a blob's URL from a file's name.
func isBlob(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	switch strings.ToLower(scheme) {
	case "https", "http", "abfss", "adl":
		return ok
	}
	return false
}

// add takes one URL. format may be empty: the name then tells it.
func (b *blobInputs) add(uri string, format ingest.Format) error {
	plain, secret := ingest.CutBlobSecret(uri)
	in := blobInput{ingest.Blob{URI: plain}, format}
	if err := in.blob.Validate(); err != nil {
		return usageError{err}
	}
	address, _, _ := strings.Cut(plain, ";")
	u, err := url.Parse(address)
	if err != nil {
		return usagef("a blob's URL is not one")
	}
	if in.format == "" {
		var ok bool
		if in.format, ok = ingest.FormatOf(path.Base(u.Path)); !ok {
			return usagef("%s: the name does not tell the format; give --format", u.Path)
		}
	}
	if secret != "" {
		if b.secrets == nil {
			b.secrets = make(map[string]string)
		}
		b.secrets[plain] = secret
	}
	b.list = append(b.list, in)
	return nil
}

// secret is a transport's BlobSecret.
func (b *blobInputs) secret(_ context.Context, uri string) (string, error) {
	if s := b.secrets[uri]; s != "" {
		return s, nil
	}
	return os.Getenv(blobSASVariable), nil
}

// localHosts are the web servers of this machine among the blobs' hosts.
func (b *blobInputs) localHosts() []string {
	var hosts []string
	for _, in := range b.list {
		if u, err := url.Parse(in.blob.URI); err == nil && u.Port() != "" && isLoopback(u.Hostname()) {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// advise tells what a later run needs of this one.
func (b *blobInputs) advise(c *console) {
	if n := len(b.secrets); n > 0 {
		c.note("The SAS of %d blobs is not stored. Where such a blob is not ingested yet, a later drain needs one in %s.", n, blobSASVariable)
	}
}

// properties are those of one blob.
func (in *blobInput) properties(p ingest.Properties, skipHeader bool) ingest.Properties {
	p.Format, p.IgnoreFirstRecord, p.ByReference = in.format, skipHeader, true
	return p
}

// ingest makes the orders durable, and counts each as a record that was read.
func (b *blobInputs) ingest(ctx context.Context, spool *engine.Spool, p ingest.Properties, skipHeader bool, r *report) error {
	for i := range b.list {
		in := &b.list[i]
		if _, err := spool.IngestBlob(ctx, in.properties(p, skipHeader), in.blob); err != nil {
			return err
		}
		r.Read++
	}
	return nil
}
