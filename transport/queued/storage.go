package queued

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// Storage is blob storage of your own, in place of the containers that the
// service lends. Exactly one of SAS and Credential is set.
type Storage struct {
	// Containers are URLs without a signature:
	// https://account.blob.core.windows.net/container. Several, best of
	// different accounts, stand in for one another.
	Containers []string

	// SAS returns a signature for one of Containers, as a query with or without
	// its question mark: to write blobs and to read them, because the service
	// reads with the same one. It is called for each attempt; cache what is
	// costly. It must be valid until the service has read the blob, for days
	// where ingestion may have to wait. An error of it is Transient, and its
	// text is not repeated.
	SAS func(ctx context.Context, container string) (string, error)

	// Credential writes the blobs, and Access says how the service reads them
	// (protocol reference section 4.5): "managed_identity=system",
	// "managed_identity=<object id>" or "impersonate".
	Credential azcore.TokenCredential
	Access     string

	// AllowHosts are storage hosts, or domains with a leading dot, outside the
	// Azure clouds to which Credential's token may be sent.
	AllowHosts []string
}

// ownStorage is a validated Storage.
type ownStorage struct {
	urls   []string
	sas    func(ctx context.Context, container string) (string, error)
	cred   azcore.TokenCredential
	suffix string // of a blob's URL, for the service
	// plain is Containers as resources, without a signature.
	plain    []kusto.Resource
	loopback bool
}

// storageDomains are where a storage token may go: the blob endpoints of the
// Azure clouds.
var storageDomains = []string{".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn",
	".blob.core.eaglex.ic.gov", ".blob.core.microsoft.scloud", ".blob.storage.azure.net", ".blob.fabric.microsoft.com"}

const opStorage = "own storage"

// newOwnStorage validates. Its errors are [ingest.FieldError]; loopback allows
// http on this machine.
func newOwnStorage(s *Storage, loopback bool) (*ownStorage, error) {
	var errs []error
	bad := func(field, value, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "Storage." + field, Value: value, Rule: rule})
	}
	o := &ownStorage{sas: s.SAS, cred: s.Credential, loopback: loopback}
	if len(s.Containers) == 0 {
		bad("Containers", "", "must name a container")
	}
	for _, raw := range s.Containers {
		u, err := url.Parse(raw)
		if err != nil || u.RawQuery != "" || u.ForceQuery {
			bad("Containers", kusto.Redact(raw), "must be URLs without a query; a signature comes from SAS")
			continue
		}
		r, ok := kusto.ParseResource(raw, loopback)
		switch {
		case !ok:
			bad("Containers", kusto.Redact(raw), "must be https URLs of a container")
		case strings.ContainsAny(u.Path, ";"):
			bad("Containers", kusto.Redact(raw), "must not hold a credential suffix; use Access")
		case s.Credential != nil && !kusto.HostIn(u.Hostname(), storageDomains, s.AllowHosts):
			bad("Containers", kusto.Redact(raw), "must be in a known storage domain for a token to be sent there; see AllowHosts")
		default:
			o.urls, o.plain = append(o.urls, raw), append(o.plain, r)
		}
	}
	switch {
	case (s.SAS == nil) == (s.Credential == nil):
		bad("SAS", "", "or Credential must be set, and only one")
	case s.Credential == nil && s.Access != "":
		bad("Access", s.Access, "goes with Credential; with SAS the service reads by the signature")
	case s.Credential != nil && !ingest.IsAccess(s.Access):
		bad("Access", "", `must be "impersonate", "managed_identity=system" or "managed_identity=<object id>"`)
	case s.Credential != nil:
		o.suffix = ";" + s.Access
		o.cred = storageCredential{s.Credential, s.AllowHosts}
	}
	return o, errors.Join(errs...)
}

// storageCredential makes tokens for storage only. A storage that answers 401
// names what it wants a token for, and the SDK asks the credential for that.
type storageCredential struct {
	cred  azcore.TokenCredential
	allow []string
}

var errForeignAudience = errors.New("the storage wants a token for another service, so none is made")

// GetToken implements [azcore.TokenCredential].
func (c storageCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	for _, scope := range o.Scopes {
		resource, isDefault := strings.CutSuffix(scope, "/.default")
		host, isHTTPS := strings.CutPrefix(strings.TrimSuffix(resource, "/"), "https://")
		if !isDefault || !isHTTPS || host != "storage.azure.com" && !kusto.HostIn(host, storageDomains, c.allow) || strings.ContainsAny(host, "/?#@:\\ ") {
			return azcore.AccessToken{}, errForeignAudience
		}
	}
	return c.cred.GetToken(ctx, o)
}

// containers are the containers to upload to, each with a fresh signature
// where it takes one. One whose signature cannot be had is left out.
func (o *ownStorage) containers(ctx context.Context, secrets *kusto.Secrets) ([]kusto.Resource, error) {
	if o.cred != nil {
		return o.plain, nil
	}
	var out []kusto.Resource
	for _, u := range o.urls {
		sas, err := o.sas(ctx, u)
		if err != nil {
			continue
		}
		secrets.Supplied(sas)
		if r, ok := kusto.ParseResource(u+"?"+strings.TrimPrefix(sas, "?"), o.loopback); ok {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, &transport.Error{Op: opStorage, Class: transport.Transient, Err: context.Cause(ctx),
			Message: fmt.Sprintf("no signature could be had for any of %d containers", len(o.urls))}
	}
	return out, nil
}
