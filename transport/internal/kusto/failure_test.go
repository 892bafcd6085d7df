package kusto

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/transport"
)

func TestCommandClass(t *testing.T) {
	yes, no := true, false
	for _, tc := range []struct {
		e                RESTError
		discover, effect transport.Class
	}{
		{RESTError{Status: 400, Permanent: &yes}, transport.Transient, transport.Permanent},
		{RESTError{Status: 400, Permanent: &no}, transport.Transient, transport.Transient},
		{RESTError{Status: 400}, transport.Transient, transport.Permanent},
		{RESTError{Status: 400, Code: "BadRequest_TableNotExist", Permanent: &yes}, transport.Transient, transport.Held},
		{RESTError{Status: 400, Code: "Stream_WrongNumberOfFields", Permanent: &yes}, transport.Transient, transport.Malformed},
		{RESTError{Status: 400, Type: "Kusto.X.EntityNotFoundException", Permanent: &yes}, transport.Transient, transport.Held},
		{RESTError{Status: 400, Type: "ControlCommandThrottledException"}, transport.Transient, transport.Throttled},
		{RESTError{Status: 401}, transport.Unauthorized, transport.Unauthorized},
		{RESTError{Status: 403}, transport.Unauthorized, transport.Held},
		{RESTError{Status: 404}, transport.Transient, transport.Held},
		{RESTError{Status: 408}, transport.Transient, transport.Unknown},
		{RESTError{Status: 413, Permanent: &yes}, transport.Transient, transport.Permanent},
		{RESTError{Status: 429, Permanent: &no}, transport.Throttled, transport.Throttled},
		{RESTError{Status: 500}, transport.Transient, transport.Unknown},
		{RESTError{Status: 503, Permanent: &yes}, transport.Transient, transport.Unknown},
		{RESTError{Status: 504}, transport.Transient, transport.Unknown},
		{RESTError{Status: 520}, transport.Transient, transport.Unknown},
		{RESTError{Status: 307}, transport.Transient, transport.Unknown},
	} {
		if got := commandClass(&tc.e, NoEffect); got != tc.discover {
			t.Errorf("%+v without effect: %v, want %v", tc.e, got, tc.discover)
		}
		if got := commandClass(&tc.e, HasEffect); got != tc.effect {
			t.Errorf("%+v with an effect: %v, want %v", tc.e, got, tc.effect)
		}
	}
}

func TestStorageClass(t *testing.T) {
	for _, tc := range []struct {
		status         int
		code           string
		upload, effect transport.Class
		refused        bool
	}{
		{400, "InvalidHeaderValue", transport.Transient, transport.Transient, false},
		{400, "RequestBodyTooLarge", transport.Permanent, transport.Permanent, false},
		{401, "NoAuthenticationInformation", transport.Unauthorized, transport.Unauthorized, false},
		{403, "AuthenticationFailed", transport.Transient, transport.Transient, true},
		{403, "AuthorizationFailure", transport.Unauthorized, transport.Unauthorized, true},
		{404, "ContainerNotFound", transport.Transient, transport.Transient, true},
		{404, "QueueNotFound", transport.Transient, transport.Transient, true},
		{408, "", transport.Transient, transport.Unknown, false},
		{409, "ContainerBeingDeleted", transport.Transient, transport.Transient, true},
		{409, "EntityAlreadyExists", transport.Transient, transport.Transient, false},
		{413, "", transport.Permanent, transport.Permanent, false},
		{429, "", transport.Throttled, transport.Throttled, false},
		{500, "OperationTimedOut", transport.Transient, transport.Unknown, false},
		{503, "ServerBusy", transport.Throttled, transport.Unknown, false},
		{200, "", transport.Transient, transport.Unknown, false}, // a captive portal
		{302, "", transport.Transient, transport.Transient, false},
	} {
		err := fmt.Errorf("wrapped: %w", &azcore.ResponseError{StatusCode: tc.status, ErrorCode: tc.code})
		if got := (*Secrets)(nil).StorageFailure("upload", err, NoEffect, nil).Class; got != tc.upload {
			t.Errorf("%d %s, upload: %v, want %v", tc.status, tc.code, got, tc.upload)
		}
		if got := (*Secrets)(nil).StorageFailure("enqueue", err, HasEffect, nil).Class; got != tc.effect {
			t.Errorf("%d %s, enqueue: %v, want %v", tc.status, tc.code, got, tc.effect)
		}
		if got := StorageRefused(err); got != tc.refused {
			t.Errorf("%d %s: refused is %v", tc.status, tc.code, got)
		}
	}
}

func TestWireFailureKeepsNoForeignError(t *testing.T) {
	err := (*Secrets)(nil).WireFailure("upload", fmt.Errorf("Put \"https://a/b?%s\": %w", testSAS, context.DeadlineExceeded), NoEffect, nil)
	if !errors.Is(err, context.DeadlineExceeded) || err.Class != transport.Transient {
		t.Errorf("got %v", err)
	}
	for e := error(err); e != nil; e = errors.Unwrap(e) {
		if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, "c2VjcmV0") {
			t.Errorf("a secret is left: %s", s)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "x": 0, "99999999999": 0, "86400": time.Hour,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {v}}, now); got != want && !(v == "99999999999" && got == time.Hour) {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
	if got := RetryAfter(http.Header{"X-Ms-Retry-After-Ms": {"1500"}}, now); got != 1500*time.Millisecond {
		t.Errorf("milliseconds: %v", got)
	}
}
