package judge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/internal/kustosim"
)

// The token that [Start] has the simulator demand, and what its metadata names:
// the resource that a client must ask a token for.
const (
	Token    = "the judge's token"
	Audience = "https://judge.kusto.windows.net"

	metadata = `{"AzureAD":{"LoginEndpoint":"https://login.microsoftonline.com","LoginMfaRequired":false,` +
		`"KustoClientAppId":"db662dc1-0cfe-4e1c-a843-19a68e65be58","KustoClientRedirectUri":"https://microsoft/kustoclient",` +
		`"KustoServiceResourceId":"` + Audience + `","FirstPartyAuthorityUrl":"https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a"}}`
)

// Request is what a client asked a front for.
type Request struct {
	Host   string // without the port
	Method string
	Path   string
	Bearer bool // it came with a token
}

// Front serves a simulator over TLS. Data management and the engine are told
// apart by the name that a client calls them by, as in the cloud: DM is
// localhost, the engine 127.0.0.1; both get to the same port of the simulator.
type Front struct {
	port   string
	server *http.Server
	proxy  *httputil.ReverseProxy
	ca     []byte
	pool   *x509.CertPool
	serve  sync.WaitGroup

	mu       sync.Mutex
	backends map[string]*url.URL // by name: ACCOUNT.SERVICE.localhost, localhost, 127.0.0.1
	requests []Request
	refused  []string
}

// Start runs a simulator behind a front, until the test ends. The simulator
// demands [Token] and has metadata that name [Audience], unless o says
// otherwise.
func Start(t testing.TB, o *kustosim.Options) (*kustosim.Sim, *Front) {
	t.Helper()
	f, err := newFront()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	var opts kustosim.Options
	if o != nil {
		opts = *o
	}
	opts.StorageURL = f.storage
	if opts.Token == "" {
		opts.Token = Token
	}
	if opts.Metadata == "" {
		opts.Metadata = metadata
	}
	sim, err := kustosim.Start(&opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	u, err := url.Parse(sim.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.backends["localhost"], f.backends["127.0.0.1"] = u, u
	f.mu.Unlock()
	return sim, f
}

func newFront() (*Front, error) {
	ca, cert, err := certificates()
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	f := &Front{port: port, ca: ca, pool: x509.NewCertPool(), backends: make(map[string]*url.URL)}
	f.pool.AppendCertsFromPEM(ca)
	quiet := log.New(io.Discard, "", 0)
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			// The path is appended as it was escaped: SetURL would clean it.
			to, _ := f.backend(r.In)
			r.Out.Host, r.Out.URL.Scheme, r.Out.URL.Host = to.Host, to.Scheme, to.Host
			r.Out.URL.Path, r.Out.URL.RawPath = to.Path+r.In.URL.Path, ""
			if r.In.URL.RawPath != "" {
				r.Out.URL.RawPath = to.Path + r.In.URL.RawPath
			}
			r.Out.URL.RawQuery = r.In.URL.RawQuery
		},
		Transport: &http.Transport{DisableCompression: true},
		// A simulator that hangs up is one to the client as well.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     quiet,
	}
	f.server = &http.Server{Handler: f, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	tlsLn := tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	f.serve.Go(func() {
		// ErrServerClosed is the only way out: the listener fails only when closed.
		_ = f.server.Serve(tlsLn)
	})
	return f, nil
}

func (f *Front) close() {
	f.server.Close()
	f.serve.Wait()
	f.proxy.Transport.(*http.Transport).CloseIdleConnections()
}

// storage names a service of an account as the cloud does. It is for
// [kustosim.Options].StorageURL.
func (f *Front) storage(host kustosim.Host, account, addr string) string {
	service, _, _ := strings.Cut(string(host), "/")
	name := account + "." + service + ".localhost"
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends[name] = &url.URL{Scheme: "http", Host: addr, Path: "/" + account}
	return "https://" + name + ":" + f.port
}

// DM is the URL of data management, which a client asks for resources.
func (f *Front) DM() string { return "https://localhost:" + f.port }

// Engine is the URL of the engine, which a client queries and streams to.
func (f *Front) Engine() string { return "https://127.0.0.1:" + f.port }

// CA is the certificate to trust, as PEM.
func (f *Front) CA() []byte { return f.ca }

// Client is an HTTP client that trusts the front, has names end here, and
// refuses to dial anything else.
func (f *Front) Client() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: f.pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: false,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil || port != f.port || host != "127.0.0.1" && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
				f.mu.Lock()
				f.refused = append(f.refused, addr)
				f.mu.Unlock()
				return nil, fmt.Errorf("judge: %s is not on this machine", addr)
			}
			return dialer.DialContext(ctx, network, "127.0.0.1:"+f.port)
		},
	}}
}

// Refused are the addresses elsewhere that a [Front.Client] was asked to dial.
func (f *Front) Refused() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refused)
}

// Requests are all that came, in order.
func (f *Front) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *Front) backend(r *http.Request) (*url.URL, string) {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.backends[name], name
}

// ServeHTTP passes a request on to what the host's name stands for.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, name := f.backend(r)
	f.mu.Lock()
	f.requests = append(f.requests, Request{name, r.Method, r.URL.Path, strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")})
	f.mu.Unlock()
	if to == nil {
		http.Error(w, "no such host", http.StatusMisdirectedRequest)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

// certificates makes an authority and what it says of the front's names, both
// for a day.
func certificates() (ca []byte, leaf tls.Certificate, err error) {
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, leaf, err
	}
	begin := time.Now().Add(-time.Hour)
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's authority"}, NotBefore: begin, NotAfter: begin.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, leaf, err
	}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: begin, NotAfter: begin.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "*.blob.localhost", "*.queue.localhost", "*.table.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, caKey)
	if err != nil {
		return nil, leaf, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return ca, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
