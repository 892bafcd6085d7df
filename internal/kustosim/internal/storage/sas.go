package storage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Service is one of the three storage services.
type Service string

const (
	BlobService  Service = "blob"
	QueueService Service = "queue"
	TableService Service = "table"
)

const sasTime = "2006-01-02T15:04:05Z"

// Issuer makes and checks the simulator's shared access signatures. They die
// with the secret they were made with.
type Issuer struct {
	lifetime time.Duration

	mu struct {
		sync.Mutex
		secret []byte
	}
}

// NewIssuer makes an issuer whose signatures are valid for a time.
func NewIssuer(lifetime time.Duration) *Issuer {
	i := &Issuer{lifetime: lifetime}
	i.mu.secret = randomBytes(32)
	return i
}

// Sign returns the query of a URI that grants perms on one resource.
func (i *Issuer) Sign(svc Service, account, name, perms string, now time.Time) string {
	q := url.Values{
		"sv": {"2018-03-28"},
		"st": {now.Add(-5 * time.Minute).UTC().Format(sasTime)},
		"se": {now.Add(i.lifetime).UTC().Format(sasTime)},
		"sp": {perms},
	}
	switch svc {
	case BlobService:
		q.Set("sr", "c")
	case TableService:
		q.Set("tn", name)
	case QueueService:
	}
	q.Set("sig", i.signature(svc, account, name, q))
	return q.Encode()
}

func (i *Issuer) signature(svc Service, account, name string, q url.Values) string {
	i.mu.Lock()
	mac := hmac.New(sha256.New, i.mu.secret)
	i.mu.Unlock()
	for _, part := range []string{string(svc), account, name, q.Get("sv"), q.Get("st"), q.Get("se"), q.Get("sp"), q.Get("sr"), q.Get("tn")} {
		mac.Write([]byte(part))
		mac.Write([]byte{'\n'})
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// check returns nil when q grants one of the permissions any on the resource,
// and otherwise the service's error: 401 without a signature, 403
// AuthenticationFailed on a bad or expired one, 403
// AuthorizationPermissionMismatch on one that does not grant enough.
func (i *Issuer) check(svc Service, account, name string, q url.Values, any string, now time.Time) *Error {
	sig := q.Get("sig")
	if sig == "" {
		return &Error{http.StatusUnauthorized, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."}
	}
	if !hmac.Equal([]byte(sig), []byte(i.signature(svc, account, name, q))) {
		return &Error{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Signature did not match."}
	}
	start, err1 := time.Parse(sasTime, q.Get("st"))
	end, err2 := time.Parse(sasTime, q.Get("se"))
	if err1 != nil || err2 != nil || now.Before(start) || !now.Before(end) {
		return &Error{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Signature not valid in the specified time frame."}
	}
	if !strings.ContainsAny(q.Get("sp"), any) {
		return &Error{http.StatusForbidden, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission."}
	}
	return nil
}

// Expire makes every signature given out so far invalid.
func (i *Issuer) Expire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.secret = randomBytes(32)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
