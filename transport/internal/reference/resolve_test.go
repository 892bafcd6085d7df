package reference

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

const secret = "c2VjcmV0LXNpZw"

// payload is a reference as a batch holds it.
func payload(t testing.TB, b ingest.Blob) transport.Payload {
	t.Helper()
	data, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	return transporttest.Bytes(data)
}

func TestSecrets(t *testing.T) {
	const at = "https://acc.blob.core.windows.net/c/b.csv"
	answer := func(secret string, err error) func(context.Context, string) (string, error) {
		return func(_ context.Context, blob string) (string, error) {
			if strings.ContainsAny(blob, ";") {
				t.Errorf("asked about %s, which says itself how it is read", blob)
			}
			return secret, err
		}
	}
	for name, tc := range map[string]struct {
		uri    string
		secret func(context.Context, string) (string, error)
		want   string // "" is held
	}{
		"no source":    {at, nil, at},
		"public":       {at, answer("", nil), at},
		"query":        {at, answer("sv=1&sig="+secret, nil), at + "?sv=1&sig=" + secret},
		"with mark":    {at, answer("?sv=1&sig="+secret, nil), at + "?sv=1&sig=" + secret},
		"snapshot":     {at + "?snapshot=1", answer("?sig="+secret, nil), at + "?snapshot=1&sig=" + secret},
		"token":        {at, answer(";token="+secret, nil), at + ";token=" + secret},
		"account key":  {at, answer(";"+secret+"==", nil), at + ";" + secret + "=="},
		"identity":     {at + ";managed_identity=system", answer("?sig="+secret, nil), at + ";managed_identity=system"},
		"failed":       {at, answer("", errors.New("vault: sig="+secret)), ""},
		"no query":     {at, answer(secret, nil), ""},
		"line break":   {at, answer("sig="+secret+"\nx", nil), ""},
		"broken query": {at, answer("sig=%zz"+secret, nil), ""},
	} {
		r := &Resolver{Secret: tc.secret, NoProbe: true}
		s, err := r.Resolve(t.Context(), payload(t, ingest.Blob{URI: tc.uri, RawSize: 9}))
		var e *transport.Error
		switch {
		case tc.want == "" && (!errors.As(err, &e) || e.Class != transport.Held || e.Code != CodeSecret || strings.Contains(err.Error(), secret)):
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err != nil || s.URL != tc.want || s.Plain != at || s.RawSize != 9):
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// A source of secrets that does not answer holds its blob; a call that is cut
// off meanwhile says nothing of the blob.
func TestSlowSecret(t *testing.T) {
	blocks := func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	p := payload(t, ingest.Blob{URI: "https://acc.blob.core.windows.net/c/b.csv"})
	var e *transport.Error
	r := &Resolver{Secret: blocks, Timeout: time.Millisecond, NoProbe: true}
	if _, err := r.Resolve(t.Context(), p); !errors.As(err, &e) || e.Class != transport.Held {
		t.Errorf("a slow source: %v", err)
	}
	r.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Resolve(ctx, p); !errors.As(err, &e) || e.Class != transport.Transient || !errors.Is(err, context.Canceled) {
		t.Errorf("a call cut off: %v", err)
	}
}

func TestPayloads(t *testing.T) {
	r := &Resolver{NoProbe: true}
	var e *transport.Error
	for _, text := range []string{"{}", "a,b\n", `{"uri":"https://h/c/b?sig=` + secret + `"}`, strings.Repeat("x", maxReference+10)} {
		if _, err := r.Resolve(t.Context(), transporttest.Bytes([]byte(text))); !errors.As(err, &e) || e.Class != transport.Permanent || strings.Contains(err.Error(), secret) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
	damaged := errors.New("frame 3: checksum")
	p := &transporttest.Payload{Data: []byte(`{"uri":"https://h/c/b"}`), FailAt: 9, Err: damaged}
	if _, err := r.Resolve(t.Context(), p); !errors.Is(err, damaged) || errors.As(err, new(*transport.Error)) || p.Unclosed() != 0 {
		t.Errorf("a damaged payload: %v", err)
	}
}

func TestProbe(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.URL.String())
		switch {
		case strings.Contains(r.URL.Path, "gone"):
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(r.URL.Path, "moved"):
			http.Redirect(w, r, "/c/plain.csv", http.StatusFound)
		case strings.Contains(r.URL.Path, "told"):
			w.Header().Set("x-ms-meta-rawSizeBytes", "12345")
		default:
			w.Header().Set("Content-Length", "100")
		}
	}))
	defer s.Close()
	wire := kusto.NewWire(nil, kusto.Timeouts{}, nil)
	defer wire.CloseIdle()
	for name, want := range map[string]int64{"plain.csv": 100, "x.csv.gz": 1100, "x.zip": 1100, "x.parquet": 100, "told.csv.gz": 12345, "gone.csv": 0, "moved.csv": 0,
		"plain.csv;impersonate": 0} {
		r := &Resolver{Wire: wire, Secret: func(context.Context, string) (string, error) { return "sig=x", nil }}
		got, err := r.Resolve(t.Context(), payload(t, ingest.Blob{URI: s.URL + "/c/" + name}))
		if err != nil || got.RawSize != want {
			t.Errorf("%s: %+v, %v; want %d", name, got, err, want)
		}
		if known, err := r.Resolve(t.Context(), payload(t, ingest.Blob{URI: s.URL + "/c/" + name, RawSize: 3})); err != nil || known.RawSize != 3 {
			t.Errorf("%s: a known size became %d, %v", name, known.RawSize, err)
		}
		r.NoProbe = true
		if got, err = r.Resolve(t.Context(), payload(t, ingest.Blob{URI: s.URL + "/c/" + name})); err != nil || got.RawSize != 0 {
			t.Errorf("%s, not asked: %+v, %v", name, got, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 7 {
		t.Errorf("asked %q, want one HEAD for each that can be asked", asked)
	}
	for _, q := range asked {
		if !strings.HasPrefix(q, "HEAD ") || !strings.HasSuffix(q, "?sig=x") {
			t.Errorf("asked %s", q)
		}
	}
	// Nobody there, or nobody who answers: unknown, and no error.
	s.Close()
	r := &Resolver{Wire: wire}
	if got, err := r.Resolve(t.Context(), payload(t, ingest.Blob{URI: s.URL + "/c/x.csv"})); err != nil || got.RawSize != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
