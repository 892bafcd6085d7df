package kusto

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/transport"
)

// Version is what the client calls itself on the wire.
const Version = "0.1.0"

// apiVersion is the x-ms-version of the Kusto endpoints (protocol reference
// section 2.1).
const apiVersion = "2024-12-12"

// noDatabase is what a command without a database names (section 2.1).
const noDatabase = "NetDefaultDB"

// Options configure a [Service]. The zero value is usable.
type Options struct {
	azcore.ClientOptions
	// App is the application's name for tracing, "kustospool" by default.
	App string
	// AllowHosts are hosts (or, with a leading dot, domains) outside the known
	// Kusto domains to which a token may be sent, and for which it may be made.
	AllowHosts []string
	// Timeouts are of the stages of a request.
	Timeouts Timeouts
	// Meter counts what passes; nil for none.
	Meter Meter
}

// Service is one cluster's REST endpoints. It is safe for concurrent use.
type Service struct {
	cluster  Cluster
	app      string
	version  string
	wire     *Wire
	secrets  *Secrets
	pipeline azruntime.Pipeline
}

// NewService prepares the endpoints of a cluster; nothing is sent. A nil
// credential sends no Authorization header and is accepted for a loopback
// cluster only. The error is an [ingest.FieldError].
func NewService(endpoint string, cred azcore.TokenCredential, opts *Options) (*Service, error) {
	if opts == nil {
		opts = &Options{}
	}
	c, err := ParseCluster(endpoint, opts.AllowHosts)
	if err != nil {
		return nil, err
	}
	if cred == nil && !c.Loopback {
		return nil, &ingest.FieldError{Field: "credential", Rule: "must be given for a cluster that is not on this machine"}
	}
	s := &Service{cluster: c, app: HeaderText(opts.App), wire: NewWire(opts.Transport, opts.Timeouts, opts.Meter), secrets: new(Secrets)}
	if s.app == "" {
		s.app = "kustospool"
	}
	s.version = fmt.Sprintf("Kusto.Spool:{%s}|Runtime.Go:{%s}", tracingValue(Version), tracingValue(runtime.Version()))

	co := opts.ClientOptions
	co.Transport = s.wire
	co.Retry = policy.RetryOptions{MaxRetries: -1} // the engine alone repeats
	var perRetry []policy.Policy
	if cred != nil {
		perRetry = append(perRetry, newBearer(c, s.Guarded(cred), opts.AllowHosts, s.wire))
	}
	s.pipeline = azruntime.NewPipeline("kustospool", Version, azruntime.PipelineOptions{PerRetry: perRetry}, &co)
	return s, nil
}

// Cluster is the pair of endpoints.
func (s *Service) Cluster() Cluster { return s.cluster }

// Wire carries the service's requests; storage clients share it.
func (s *Service) Wire() *Wire { return s.wire }

// Secrets are those that the service's client has in use; nil, which knows
// none, of no service.
func (s *Service) Secrets() *Secrets {
	if s == nil {
		return nil
	}
	return s.secrets
}

// App is the name the service traces the application by.
func (s *Service) App() string { return s.app }

// ClientVersion is what the service traces the client by.
func (s *Service) ClientVersion() string { return s.version }

// Call is one management command.
type Call struct {
	Op       string // for errors: "ingestion resources"
	Engine   bool   // at the engine endpoint; otherwise at data management
	Database string // empty for commands without one
	Command  string
	Effect   Effect
	Role     Role // what the command needs, for the words of a refusal
	// RequestID is the x-ms-client-request-id, by which the service can be
	// asked about the command later; empty means a fresh one.
	RequestID string
}

// NewRequestID is a fresh x-ms-client-request-id.
func NewRequestID() string { return "KSP.execute;" + uuid.NewString() }

// Mgmt runs one management command, in one HTTP attempt. The error is a
// *[transport.Error]; where the service replied its cause is a [RESTError].
func (s *Service) Mgmt(ctx context.Context, call Call) ([]Table, error) {
	if call.RequestID == "" {
		call.RequestID = NewRequestID()
	}
	if call.Database == "" {
		call.Database = noDatabase
	}
	body, err := json.Marshal(map[string]any{
		"db": call.Database, "csl": call.Command,
		"properties": map[string]any{"Options": map[string]any{"servertimeout": timespan(ctx)}},
	})
	if err != nil {
		return nil, &transport.Error{Op: call.Op, Class: transport.Permanent, Message: "the command is not valid text"}
	}
	root := s.cluster.DM
	if call.Engine {
		root = s.cluster.Engine
	}
	reply, err := s.exchange(ctx, exchange{
		op: call.Op, method: http.MethodPost, url: root + "/v1/rest/mgmt", body: body, effect: call.Effect, requestID: call.RequestID, role: call.Role,
	})
	if err != nil {
		return nil, err
	}
	tables, err := DecodeDataset(reply, s.secrets)
	if err != nil {
		e := &transport.Error{Op: call.Op, Class: transport.Transient, Message: s.secrets.Words(err.Error()), RequestID: call.RequestID, Err: err}
		if call.Effect == HasEffect {
			e.Class = transport.Unknown
		}
		return nil, e
	}
	return tables, nil
}

// sign puts on the headers of protocol reference section 2.1.
func (s *Service) sign(h http.Header, requestID string) {
	h.Set("Accept", "application/json")
	h.Set("x-ms-version", apiVersion)
	h.Set("x-ms-client-request-id", HeaderText(requestID))
	h.Set("x-ms-app", s.app)
	h.Set("x-ms-client-version", s.version)
}

func withRequest(e *transport.Error, id string) *transport.Error {
	e.RequestID = id
	return e
}

// HeaderText makes a text fit for a header: the service's clients replace what
// is not printable ASCII by a question mark.
func HeaderText(s string) string {
	return bound(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimSpace(s)), 256)
}

// tracingValue escapes a value of x-ms-client-version, as section 2.1 says.
func tracingValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune("{}|", r) {
			return '_'
		}
		return r
	}, s)
}

// serverTimeout is what a command without a deadline asks for.
const serverTimeout = 10 * time.Minute

// timespan is the server timeout of a command, hh:mm:ss: what is left until
// the context's deadline.
func timespan(ctx context.Context) string {
	d := serverTimeout
	if at, ok := ctx.Deadline(); ok {
		d = min(max(time.Until(at), time.Second), time.Hour)
	}
	s := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}
