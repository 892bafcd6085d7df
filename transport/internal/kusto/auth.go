package kusto

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"kustospool/transport"
)

// defaultResource is the audience of the public cloud, used where the cluster
// publishes no metadata (protocol reference section 1.3).
const defaultResource = "https://kusto.kusto.windows.net"

// maxMetadataBytes bounds the reply of the metadata endpoint.
const maxMetadataBytes = 64 << 10

// bearerPolicy puts the Authorization header on requests. The scope comes from the
// cluster's metadata, asked for once, without authentication and before the
// first token; a 404 or an empty reply means the public cloud.
type bearerPolicy struct {
	cred     azcore.TokenCredential
	root     string // of the endpoint that publishes the metadata
	allow    []string
	loopback bool
	wire     *Wire

	// turn is held, as its one element, by whoever asks for the metadata.
	turn chan struct{}
	mu   sync.Mutex
	// mu guards the following.
	policy *runtime.BearerTokenPolicy
}

func newBearer(c Cluster, cred azcore.TokenCredential, allow []string, wire *Wire) *bearerPolicy {
	return &bearerPolicy{cred: cred, root: c.DM, allow: allow, loopback: c.Loopback, wire: wire, turn: make(chan struct{}, 1)}
}

// Do implements [policy.Policy].
func (b *bearerPolicy) Do(req *policy.Request) (*http.Response, error) {
	p, err := b.ready(untraced{req.Raw().Context()})
	if err != nil {
		return nil, &credentialError{err}
	}
	return p.Do(req)
}

func (b *bearerPolicy) ready(ctx context.Context) (*runtime.BearerTokenPolicy, error) {
	if p := b.current(); p != nil {
		return p, nil
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p := b.current(); p != nil {
		return p, nil
	}
	resource, err := b.resource(ctx)
	if err != nil {
		return nil, err
	}
	p := runtime.NewBearerTokenPolicy(b.cred, []string{strings.TrimSuffix(resource, "/") + "/.default"},
		&policy.BearerTokenOptions{InsecureAllowCredentialWithHTTP: b.loopback})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
	return p, nil
}

func (b *bearerPolicy) current() *runtime.BearerTokenPolicy {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.policy
}

// resource asks the cluster for the audience of its tokens.
func (b *bearerPolicy) resource(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.root+"/v1/rest/auth/metadata", nil)
	if err != nil {
		return "", &metadataError{what: "has no valid address"}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := b.wire.Do(req)
	if err != nil {
		return "", &metadataError{what: "cannot be had", err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadataBytes+1))
	switch {
	case err != nil:
		return "", &metadataError{what: "cannot be read", err: err}
	case len(body) > maxMetadataBytes:
		return "", &metadataError{what: "is too large"}
	case resp.StatusCode == http.StatusNotFound:
		return defaultResource, nil
	case resp.StatusCode != http.StatusOK:
		return "", &metadataError{what: "cannot be had: HTTP " + strconv.Itoa(resp.StatusCode)}
	case len(strings.TrimSpace(string(body))) == 0:
		return defaultResource, nil
	}
	return decodeMetadata(body, b.allow)
}

// metadataError is an unusable answer of the metadata endpoint, or none, as
// from a proxy in trouble. It says nothing of the credential.
type metadataError struct {
	what string
	err  error // may be nil
}

func (e *metadataError) Error() string {
	s := "the cloud metadata " + e.what
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *metadataError) Unwrap() error { return e.err }

// audienceError is an audience that no token is made for. It is a matter of
// configuration, and so of the class of a refusal.
type audienceError struct{ resource string }

func (e *audienceError) Error() string {
	return "the cloud metadata wants a token for " + shown(e.resource) + ", which is not in a known Kusto domain; no token is made for it, see AllowHosts"
}

// decodeMetadata reads the audience from the cloud metadata. With a required
// second factor it is the cluster's MFA twin. Whoever answers for the endpoint
// chooses it, and a token for another service would be of use to them: so it
// must be where a token may be sent, a known Kusto domain or one of allow.
func decodeMetadata(body []byte, allow []string) (string, error) {
	var in struct {
		AzureAD struct {
			LoginMfaRequired       bool
			KustoServiceResourceId string
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", &metadataError{what: "is not the JSON that is expected"}
	}
	r := in.AzureAD.KustoServiceResourceId
	if r == "" {
		return defaultResource, nil
	}
	u, err := url.Parse(r)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", &metadataError{what: "names no https resource"}
	}
	host := strings.ToLower(u.Host) // a port makes it another host than any that is listed
	if r != "https://"+u.Host && r != "https://"+u.Host+"/" || !trusted(host, allow) {
		return "", &audienceError{r}
	}
	if in.AzureAD.LoginMfaRequired {
		r = strings.Replace(r, ".kusto.", ".kustomfa.", 1)
	}
	return r, nil
}

// Guarded is a credential of the caller's for this client: its tokens become
// known as secrets, and its errors are told from those of the request.
func (s *Service) Guarded(cred azcore.TokenCredential) azcore.TokenCredential {
	return guardedCredential{cred, s.secrets}
}

type guardedCredential struct {
	cred    azcore.TokenCredential
	secrets *Secrets
}

func (g guardedCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	var t azcore.AccessToken
	err := transport.Guard("TokenCredential.GetToken", func() (err error) {
		t, err = g.cred.GetToken(untraced{ctx}, o)
		return err
	})
	if err != nil {
		return azcore.AccessToken{}, &credentialError{err}
	}
	g.secrets.add(bearerSecret, t.Token)
	return t, nil
}

// untraced hides a request's watcher ([Watch]) from the requests that are made
// on its way to a token.
type untraced struct{ context.Context }

// Value knows nothing.
func (untraced) Value(any) any { return nil }

// credentialError is a token that could not be had: the request it was for
// never left.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return "no token: " + e.err.Error() }

func (e *credentialError) Unwrap() error { return e.err }

// class tells a login service in trouble from one that refuses.
func (e *credentialError) class() transport.Class {
	var m *metadataError
	if isNetwork(e.err) || errors.As(e.err, &m) {
		return transport.Transient
	}
	return transport.Unauthorized
}
