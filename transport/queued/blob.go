package queued

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/transport/internal/kusto"
)

// refer resolves the reference of a batch that is one.
func (a *attempt) refer(ctx context.Context) error {
	if !a.d.Batch.Properties.ByReference {
		return nil
	}
	source, err := a.references.Resolve(ctx, a.d.Payload)
	if err != nil {
		return err
	}
	a.source = &source
	return nil
}

// rawSize is what the service is told of the batch's size, 0 for unknown.
func (a *attempt) rawSize() int64 {
	if a.source != nil {
		return a.source.RawSize
	}
	return a.d.Payload.Size()
}

// plainURL is the blob's address for the status table.
func (a *attempt) plainURL(container kusto.Resource) string {
	if a.source != nil {
		return a.source.Plain
	}
	return container.String() + "/" + a.progress.Blob
}

// tokenScope is for Azure storage of every cloud.
const tokenScope = "https://storage.azure.com/.default"

var errForeignHost = errors.New("the blob is in no known storage domain, so no token is made for it; see StorageToken")

// StorageToken makes a BlobSecret of a credential: the service reads the blobs
// with a token of it, for as long as that is valid, an hour or so. The
// credential needs the role Storage Blob Data Reader. It makes tokens for
// https addresses in the Azure clouds' storage domains only, and for
// allowHosts: hosts, or domains with a leading dot.
func StorageToken(cred azcore.TokenCredential, allowHosts ...string) func(ctx context.Context, blob string) (string, error) {
	return func(ctx context.Context, blob string) (string, error) {
		u, err := url.Parse(blob)
		if err != nil || u.Scheme == "http" {
			return "", errForeignHost
		}
		host := u.Hostname()
		// The lake endpoint of an account has the blob endpoint's name but for one label.
		if !kusto.HostIn(strings.Replace(host, ".dfs.", ".blob.", 1), storageDomains, nil) && !kusto.HostIn(host, nil, allowHosts) {
			return "", errForeignHost
		}
		t, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{tokenScope}})
		if err != nil {
			return "", err
		}
		return ";token=" + t.Token, nil
	}
}
