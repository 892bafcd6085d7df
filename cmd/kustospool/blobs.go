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

// blobSASVariable holds URLs of containers, folders or accounts, each with its
// SAS, separated by white space. A blob that brought no SAS of its own and is
// below one of them is read with that one's. No SAS goes anywhere else.
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
	below   []blobPlace       // of the environment
}

// blobPlace is where a SAS of the environment is good for.
type blobPlace struct{ prefix, secret string }

// newBlobInputs reads the environment. Its error repeats no secret.
func newBlobInputs() (*blobInputs, error) {
	b := new(blobInputs)
	for i, text := range strings.Fields(os.Getenv(blobSASVariable)) {
		plain, secret := ingest.CutBlobSecret(text)
		prefix := strings.TrimSuffix(plain, "/") + "/"
		if err := (ingest.Blob{URI: prefix + "blob"}).Validate(); err != nil || secret == "" {
			return nil, usagef("%s: entry %d must be the https URL of a container or an account with its SAS, https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS", blobSASVariable, i+1)
		}
		b.below = append(b.below, blobPlace{prefix, secret})
	}
	return b, nil
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
	for _, place := range b.below {
		if strings.HasPrefix(uri, place.prefix) {
			return place.secret, nil
		}
	}
	return "", nil // everybody may read it, or the service says that it may not
}

// localHosts are the web servers of this machine among the blobs' hosts.
func (b *blobInputs) localHosts() []string {
	var hosts []string
	for _, in := range b.list {
		if u, err := url.Parse(in.blob.URI); err == nil && u.Port() != "" && ingest.IsLoopback(u.Hostname()) {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// advise tells what a later run needs of this one.
func (b *blobInputs) advise(c *console) {
	if n := len(b.secrets); n > 0 {
		c.tell("Blobs with a SAS: %d. It is not stored: for those that are not ingested yet a later drain needs it in %s.", n, blobSASVariable)
	}
}

// properties are those of one blob.
func (in *blobInput) properties(p ingest.Properties, skipHeader bool) ingest.Properties {
	p.Format, p.IgnoreFirstRecord, p.ByReference = in.format, skipHeader, true
	return p
}

// ingest makes the orders durable, and counts each as a record of its input;
// the first blob's is at the place from.
func (b *blobInputs) ingest(ctx context.Context, spool *engine.Spool, p ingest.Properties, skipHeader bool, in *intake, from int) error {
	for i := range b.list {
		blob := &b.list[i]
		if _, err := spool.IngestBlob(ctx, blob.properties(p, skipHeader), blob.blob); err != nil {
			return err
		}
		in.add(from+i, 1)
		in.inputs[from+i].Whole = true
	}
	return nil
}
