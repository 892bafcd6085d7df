package endpoint

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/mgmt"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
)

// maxCommandBytes is how much a command may carry, also after decompression.
const maxCommandBytes = 32 << 20

// command is a request to /mgmt or /query.
type command struct {
	DB         string          `json:"db"`
	CSL        string          `json:"csl"`
	Properties json.RawMessage `json:"properties"`
}

// fragmented reports whether the answer is to be in fragments, a line each. The
// simulator heeds no other property of a request, and these two only together.
func (c *command) fragmented() bool {
	var p struct {
		Options struct {
			Fragments bool `json:"results_v2_fragment_primary_tables"`
			Newlines  bool `json:"results_v2_newlines_between_frames"`
		}
	}
	return json.Unmarshal(c.Properties, &p) == nil && p.Options.Fragments && p.Options.Newlines
}

type commandKey struct{}

// readCommand returns the command of a request, or nil if it has none. The
// body is decoded once and kept with the request, because its text decides
// which host a fault must match.
func readCommand(r *http.Request) (*command, *reply.Error) {
	if held, ok := r.Context().Value(commandKey{}).(*heldCommand); ok {
		return held.command, held.err
	}
	return nil, nil
}

type heldCommand struct {
	command *command
	err     *reply.Error
}

func decodeCommand(r *http.Request) (*command, *reply.Error) {
	var body io.Reader = io.LimitReader(r.Body, maxCommandBytes+1)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, reply.BadCommand("BadRequest", "The request body is not gzip.")
		}
		body = io.LimitReader(z, maxCommandBytes+1)
	default:
		return nil, reply.BadCommand("BadRequest", "The content encoding is not supported.")
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, reply.BadCommand("BadRequest", "The request body could not be read.")
	}
	if len(data) > maxCommandBytes {
		return nil, reply.ErrorOf(http.StatusRequestEntityTooLarge)
	}
	var c command
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &c); err != nil {
		return nil, reply.BadCommand("BadRequest", "The request body is not the JSON object of a command.")
	}
	c.CSL = strings.TrimSpace(c.CSL)
	return &c, nil
}

// Config is what the endpoint serves from.
type Config struct {
	Catalog   *catalog.Catalog
	Manager   Manager
	Ingestor  RESTIngestor
	Resources mgmt.Resources
	Faults    *fault.Set
	Stats     *stats.Book
	Notify    func()       // called after every effect
	Control   http.Handler // of the paths under /sim/

	Grants             *Grants
	Metadata           string // of /v1/rest/auth/metadata; empty: 404
	PreferredIngestion string // Queue, Rest, or - without the REST API
}

// Manager runs management commands.
type Manager interface {
	Run(context.Context, mgmt.Command) (*reply.Table, *reply.Error)
}

// RESTIngestor takes what comes over REST.
type RESTIngestor interface {
	Submit(*ingestor.Message)
	Blob(ctx context.Context, uri string, limit int64) ([]byte, *parse.Error)
	Stream(db, table string, format ingest.Format, mappingName string, data []byte) *parse.Error
}

// Endpoint serves the Kusto endpoint.
type Endpoint struct {
	Config
	operations operations
}

// New makes an endpoint; its Handler is to be served.
func New(c Config) *Endpoint {
	return &Endpoint{Config: c, operations: operations{byID: make(map[string]*operation)}}
}

// manage runs a management command of a request.
func (s *Endpoint) manage(r *http.Request, c *command) (*reply.Table, *reply.Error) {
	if q, ok := queuedOperations(c.CSL); ok {
		return s.operations.table(q), nil
	}
	owner, table := s.creates(r, c)
	t, err := s.Manager.Run(r.Context(), mgmt.Command{ClientID: r.Header.Get("x-ms-client-request-id"), Principal: bearer(r), SeesAll: s.Grants.Of(bearer(r), "", "").seesAll(), DB: c.DB, Text: c.CSL})
	if err == nil && owner != "" {
		s.Grants.Grant(TableRole{owner, c.DB, table, Admin})
	}
	return t, err
}

// creates tells who becomes the Admin of the table that a command creates; nobody
// where it creates none.
// https://learn.microsoft.com/kusto/access-control/role-based-access-control
func (s *Endpoint) creates(r *http.Request, c *command) (owner, table string) {
	if roleOf(c.CSL) != User || !strings.HasPrefix(c.CSL, ".create") {
		return "", ""
	}
	table = tableOf(c.CSL)
	if _, exists := s.Catalog.Columns(c.DB, table); exists {
		return "", ""
	}
	return bearer(r), table
}

// Handler serves the DM and the engine endpoint.
func (s *Endpoint) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/rest/auth/metadata", s.serveMetadata)
	mux.HandleFunc("POST /v1/rest/mgmt", s.serveCommand(s.manage))
	mux.HandleFunc("POST /v1/rest/query", s.serveCommand(s.query))
	mux.HandleFunc("POST /v2/rest/query", s.serveCommand(s.query))
	mux.HandleFunc("GET /v1/rest/ingestion/configuration", s.permitted(s.serveIngestionConfiguration))
	mux.HandleFunc("POST /v1/rest/ingestion/queued/{db}/{table}", s.permitted(s.serveSubmit))
	mux.HandleFunc("GET /v1/rest/ingestion/queued/{db}/{table}/{id}", s.permitted(s.serveOperation))
	mux.HandleFunc("POST /v1/rest/ingest/{db}/{table}", s.serveStream)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply.Stamp(w, r)
		port.Drain(r)
		reply.ErrorOf(http.StatusNotFound).Write(w, r)
	})
	faulty := s.Faults.Before(mux, classify, reply.RefuseFault)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && (r.URL.Path == "/v1/rest/mgmt" || strings.HasSuffix(r.URL.Path, "/rest/query")) {
			held := &heldCommand{}
			held.command, held.err = decodeCommand(r)
			port.Drain(r)
			r = r.WithContext(context.WithValue(r.Context(), commandKey{}, held))
			r.Body, r.ContentLength = http.NoBody, 0
		}
		if strings.HasPrefix(r.URL.Path, "/sim/") {
			if err := s.authorize(w, r, need{roles: []Role{Admin}}); err != nil {
				port.Drain(r)
				err.Write(w, r)
				return
			}
			s.Control.ServeHTTP(w, r)
			return
		}
		faulty.ServeHTTP(w, r)
	})
}

// classify tells the role a request is for, and the text faults match.
func classify(r *http.Request) (fault.Host, string) {
	if strings.HasPrefix(r.URL.Path, "/v1/rest/auth/") || strings.HasPrefix(r.URL.Path, "/v1/rest/ingestion/") {
		return fault.DM, r.URL.Path
	}
	c, _ := readCommand(r)
	if c == nil {
		return fault.Engine, r.URL.Path
	}
	text := r.URL.Path + " " + c.CSL
	if strings.HasPrefix(c.CSL, ".get ") || strings.HasPrefix(c.CSL, ".show ingestion resources") || strings.HasPrefix(c.CSL, ".show queued ingestion") {
		return fault.DM, text
	}
	return fault.Engine, text
}

func (s *Endpoint) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	if s.Metadata == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, s.Metadata)
}

// serveCommand checks the bearer token, runs the command and writes its table.
func (s *Endpoint) serveCommand(run func(*http.Request, *command) (*reply.Table, *reply.Error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply.Stamp(w, r)
		c, err := readCommand(r)
		if err == nil {
			err = s.authorize(w, r, needOf(r, c))
		}
		if err != nil {
			err.Write(w, r)
			return
		}
		set, err := run(r, c)
		switch {
		case err != nil:
			err.Write(w, r)
		case strings.HasPrefix(r.URL.Path, "/v2/") && c.fragmented():
			reply.WriteFrames(w, set.Fragmented())
		case strings.HasPrefix(r.URL.Path, "/v2/"):
			reply.Write(w, http.StatusOK, set.V2())
		default:
			reply.Write(w, http.StatusOK, set.V1())
		}
	}
}
