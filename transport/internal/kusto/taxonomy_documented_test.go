package kusto

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"kustospool/transport"
)

// documentedLines reads a list of testdata: words, but for comments.
func documentedLines(t *testing.T, name string, words int) [][]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			if len(f) != words {
				t.Fatalf("%s: %q", name, line)
			}
			out = append(out, f)
		}
	}
	return out
}

// The list of testdata is the documentation's; the table of this package must
// hold exactly it, know which codes the service repeats by itself, and follow
// the advice for each category (protocol reference section 12).
func TestTaxonomyIsTheDocumentations(t *testing.T) {
	lines := documentedLines(t, "error-codes.txt", 3)
	if len(lines) != 80 {
		t.Errorf("the list has %d codes, the documentation 67 and the clients 13 more", len(lines))
	}
	listed := map[string]bool{}
	// What a final failure of a category may be; the exceptions by name.
	categories := map[string][]Outcome{
		"BadFormat": {malformed}, "BadRequest": {malformed, held, permanent, again}, "DataAccessNotAuthorized": {held, again},
		"DownloadFailed": {again}, "EntityNotFound": {held}, "FileTooLarge": {malformed}, "InternalServiceError": {again},
		"UpdatePolicyFailure": {held, again}, "UserAccessNotAuthorized": {held, again}, "ThrottledOnEngine": {again},
		"RetryAttemptsExceeded": {again}, "BlobAlreadyReceived": {skipped}, "Unknown": {again}, "-": {malformed, held, again, skipped},
	}
	named := map[string]Outcome{
		// Bad format by the table's or the mapping's doing, and by the properties'.
		"BadRequest_InvalidMapping": held, "BadRequest_InvalidMappingReference": held, "BadRequest_InconsistentMapping": held,
		"BadRequest_FormatNotSupported": permanent,
		// A schema is mended at the service.
		"Schema_PermanentUpdateFailure": held,
		// Resubmit, with a fresh token or a fresh blob.
		"BadRequest_InvalidKustoIdentityToken": again, "Download_Forbidden": again, "Download_SourceNotFound": again,
	}
	for _, f := range lines {
		category, code, lasting := f[0], f[1], f[2]
		listed[code] = true
		c, known := codes[code]
		if !known {
			t.Errorf("%s is documented and not in the table", code)
			continue
		}
		if lasting != "?" && c.transient != (lasting == "T") {
			t.Errorf("%s: the table says transient=%t, the documentation %s", code, c.transient, lasting)
		}
		want, isNamed := named[code]
		switch {
		case isNamed && c.outcome != want:
			t.Errorf("%s is %+v, want %+v", code, c.outcome, want)
		case isNamed:
		case len(categories[category]) == 0:
			t.Errorf("%s: category %s has no rule", code, category)
		default:
			ok := false
			for _, o := range categories[category] {
				ok = ok || c.outcome == o
			}
			if !ok {
				t.Errorf("%s of %s is %+v, want one of %+v", code, category, c.outcome, categories[category])
			}
		}
		// What was uploaded is uploaded again; what the caller named is the caller's.
		final := c.outcome == again && !c.transient
		if class := ReferenceClass(code, transport.Transient); strings.HasPrefix(code, "Download_") && final != (class != transport.Transient) {
			t.Errorf("%s is %v for a blob by reference", code, class)
		}
		// Transient is the service's to repeat, whatever the code; Exhausted is not.
		if o := FailureOutcome(code, "Transient"); o != waits && o != skipped {
			t.Errorf("%s, transient: %+v", code, o)
		}
		if o := FailureOutcome(code, "Exhausted"); o == waits {
			t.Errorf("%s, exhausted, is waited for", code)
		}
	}
	for code := range codes {
		if !listed[code] {
			t.Errorf("%s is in the table and not documented", code)
		}
	}
}

// Every documented status, over the wire, for a request without effect and for
// one with: never a guess in favour of "not accepted" (section 2.3).
func TestEveryDocumentedStatus(t *testing.T) {
	want := map[int]struct {
		discover, effect transport.Class // 0: success
	}{
		http.StatusOK:                    {0, 0},
		http.StatusBadRequest:            {transport.Transient, transport.Permanent},
		http.StatusUnauthorized:          {transport.Unauthorized, transport.Unauthorized},
		http.StatusForbidden:             {transport.Unauthorized, transport.Held},
		http.StatusNotFound:              {transport.Transient, transport.Held},
		http.StatusConflict:              {transport.Transient, transport.Permanent},
		http.StatusPreconditionFailed:    {transport.Transient, transport.Permanent},
		http.StatusRequestEntityTooLarge: {transport.Transient, transport.Permanent},
		http.StatusTooManyRequests:       {transport.Throttled, transport.Throttled},
		http.StatusInternalServerError:   {transport.Transient, transport.Unknown},
		http.StatusBadGateway:            {transport.Transient, transport.Unknown},
		http.StatusServiceUnavailable:    {transport.Transient, transport.Unknown},
		http.StatusGatewayTimeout:        {transport.Transient, transport.Unknown},
		520:                              {transport.Transient, transport.Unknown},
	}
	lines := documentedLines(t, "http-statuses.txt", 2)
	if len(lines) != 14 || len(want) != 14 {
		t.Errorf("%d statuses are listed and %d expected, of 14", len(lines), len(want))
	}
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if status == http.StatusOK {
			w.Write([]byte(`{"Tables":[{"TableName":"Table_0","Columns":[],"Rows":[]}]}`))
			return
		}
		w.Write([]byte(`{"error":{"code":"Novel","message":"no"}}`))
	}))
	defer server.Close()
	s, err := NewService(server.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wire().CloseIdle()
	for _, f := range lines {
		if status, err = strconv.Atoi(f[0]); err != nil {
			t.Fatal(err)
		}
		w, there := want[status]
		if !there {
			t.Errorf("%d %s is documented and nothing is expected of it", status, f[1])
			continue
		}
		for effect, class := range map[Effect]transport.Class{NoEffect: w.discover, HasEffect: w.effect} {
			_, err := s.Mgmt(t.Context(), Call{Op: "x", Command: ".show version", Effect: effect})
			if class == 0 && err != nil || class != 0 && (err == nil || transport.Classify(err, bool(effect)).Class != class) {
				t.Errorf("%d, effect %t: %v, want %v", status, effect, err, class)
			}
		}
	}
	// The exceptions that say throttling, whatever the status.
	for _, name := range []string{"QueryThrottledException", "ControlCommandThrottledException", "QuotaExceededException", "KustoRequestThrottledException"} {
		for _, status := range []int{http.StatusBadRequest, http.StatusTooManyRequests} {
			if c := commandClass(&RESTError{Status: status, Type: "Kusto.Data.Exceptions." + name}, HasEffect); c != transport.Throttled {
				t.Errorf("%d %s: %v", status, name, c)
			}
		}
	}
}
