package queued

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// scopes is a credential that notes what its tokens are for.
type scopes struct {
	mu   sync.Mutex // guards seen
	seen []string
}

func (s *scopes) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, o.Scopes...)
	return azcore.AccessToken{Token: "storage-token-of-the-user", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// challenger is a cluster, and a storage that wants a token for something else.
type challenger struct {
	resource string
	mu       sync.Mutex // guards sent
	sent     int
}

func (c *challenger) Do(r *http.Request) (*http.Response, error) {
	reply := func(status int, body string, h http.Header) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	if r.URL.Host != "acc.blob.core.windows.net" {
		body := `{"Tables":[{"TableName":"T","Columns":[{"ColumnName":"ResourceTypeName"},{"ColumnName":"StorageRoot"},{"ColumnName":"AuthorizationContext"}],"Rows":[`
		if text, _ := io.ReadAll(r.Body); strings.Contains(string(text), "resources") {
			body += `["TempStorage","https://a.blob.core.windows.net/c?sig=s",""],["SecuredReadyForAggregationQueue","https://a.queue.core.windows.net/q?sig=s",""]]}]}`
		} else {
			body += `["","","identity"]]}]}`
		}
		return reply(http.StatusOK, body, http.Header{})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	return reply(http.StatusUnauthorized, "", http.Header{"Www-Authenticate": {`Bearer authorization_uri=https://login.microsoftonline.com/t/oauth2/authorize resource_id=` + c.resource}})
}

// A storage answers 401 and says what it wants a token for; the SDK obeys. The
// user's credential is asked for tokens of storage only.
func TestStorageCannotChooseTheAudience(t *testing.T) {
	for resource, more := range map[string]bool{"https://management.azure.com": false, "https://graph.microsoft.com/": false, "https://kusto.kusto.windows.net": false, "https://evil.example": false,
		"https://storage.azure.com": true, "https://acc.blob.core.windows.net": true} {
		cred, wire := &scopes{}, &challenger{resource: resource}
		c, err := NewClient("http://127.0.0.1:1", nil, &ClientOptions{ClientOptions: azcore.ClientOptions{Transport: wire}, Protocol: Queue,
			Storage: &Storage{Containers: []string{"https://acc.blob.core.windows.net/c"}, Credential: cred, Access: "impersonate"}})
		if err != nil {
			t.Fatal(err)
		}
		d, _ := delivery(numbered(1), jsonLines)
		if _, err := c.Send(t.Context(), d); err == nil || strings.Contains(err.Error(), "storage-token-of-the-user") {
			t.Errorf("%s: %v", resource, err)
		}
		if len(cred.seen) == 0 || cred.seen[0] != tokenScope {
			t.Errorf("%s: tokens for %q", resource, cred.seen)
		}
		asked := false
		for _, s := range cred.seen[1:] {
			asked = true
			if !more {
				t.Errorf("a token for %s was made", s)
			}
		}
		if more && !asked && resource != "https://storage.azure.com" {
			t.Errorf("%s: a token that storage may want was refused: %q", resource, cred.seen)
		}
	}
}
