package kustosim

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

const maxCommandBytes = 32 << 20

// command is a request to /mgmt or /query.
type command struct {
	DB  string `json:"db"`
	CSL string `json:"csl"`
}

type commandKey struct{}

// readCommand returns the command of a request, or nil if it has none. The
// body is decoded once and kept with the request, because its text decides
// which host a fault must match.
func readCommand(r *http.Request) (*command, *kustoError) {
	if held, ok := r.Context().Value(commandKey{}).(*heldCommand); ok {
		return held.command, held.err
	}
	return nil, nil
}

type heldCommand struct {
	command *command
	err     *kustoError
}

func decodeCommand(r *http.Request) (*command, *kustoError) {
	var body io.Reader = io.LimitReader(r.Body, maxCommandBytes)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, badCommand("BadRequest", "The request body is not gzip.")
		}
		body = io.LimitReader(z, maxCommandBytes)
	default:
		return nil, badCommand("BadRequest", "The content encoding is not supported.")
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, badCommand("BadRequest", "The request body could not be read.")
	}
	var c command
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &c); err != nil {
		return nil, badCommand("BadRequest", "The request body is not the JSON object of a command.")
	}
	c.CSL = strings.TrimSpace(c.CSL)
	return &c, nil
}

// kustoHandler serves the DM and the engine endpoint.
func (s *Sim) kustoHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/rest/auth/metadata", s.serveMetadata)
	mux.HandleFunc("POST /v1/rest/mgmt", s.serveCommand(s.manage))
	mux.HandleFunc("POST /v1/rest/query", s.serveCommand(s.query))
	mux.HandleFunc("POST /v2/rest/query", s.serveCommand(s.query))
	mux.HandleFunc("GET /v1/rest/ingestion/configuration", s.permitted(s.serveIngestionConfiguration))
	mux.HandleFunc("POST /v1/rest/ingestion/queued/{db}/{table}", s.permitted(s.serveSubmit))
	mux.HandleFunc("GET /v1/rest/ingestion/queued/{db}/{table}/{id}", s.permitted(s.serveOperation))
	mux.HandleFunc("POST /v1/rest/ingest/{db}/{table}", s.serveStream)
	mux.HandleFunc("GET /sim/rows", s.serveRows)
	mux.HandleFunc("GET /sim/stats", s.serveStats)
	c := &control{sim: s}
	mux.HandleFunc("POST /sim/faults", c.serveFaults)
	mux.HandleFunc("DELETE /sim/faults", c.serveFaults)
	mux.HandleFunc("POST /sim/age/{what}", c.serveAge)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		stampKusto(w, r)
		drain(r)
		kustoErrorOf(http.StatusNotFound).write(w, r)
	})
	faulty := s.withFaults("", s.classify, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && (r.URL.Path == "/v1/rest/mgmt" || strings.HasSuffix(r.URL.Path, "/rest/query")) {
			held := &heldCommand{}
			held.command, held.err = decodeCommand(r)
			drain(r)
			r = r.WithContext(context.WithValue(r.Context(), commandKey{}, held))
			r.Body, r.ContentLength = http.NoBody, 0
		}
		if strings.HasPrefix(r.URL.Path, "/sim/") {
			mux.ServeHTTP(w, r)
			return
		}
		faulty.ServeHTTP(w, r)
	})
}

// classify tells the role a request is for, and the text faults match.
func (s *Sim) classify(r *http.Request) (Host, string) {
	if strings.HasPrefix(r.URL.Path, "/v1/rest/auth/") || strings.HasPrefix(r.URL.Path, "/v1/rest/ingestion/") {
		return DM, r.URL.Path
	}
	c, _ := readCommand(r)
	if c == nil {
		return Engine, r.URL.Path
	}
	text := r.URL.Path + " " + c.CSL
	if strings.HasPrefix(c.CSL, ".get ") || strings.HasPrefix(c.CSL, ".show ingestion resources") {
		return DM, text
	}
	return Engine, text
}

func (s *Sim) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Metadata == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, s.opts.Metadata)
}

// serveCommand checks the bearer token, runs the command and writes its table.
func (s *Sim) serveCommand(run func(*http.Request, *command) (*dataset, *kustoError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		stampKusto(w, r)
		c, err := readCommand(r)
		if err == nil {
			err = s.authorize(w, r, roleOf(r, c))
		}
		if err != nil {
			err.write(w, r)
			return
		}
		set, err := run(r, c)
		switch {
		case err != nil:
			err.write(w, r)
		case strings.HasPrefix(r.URL.Path, "/v2/"):
			writeKusto(w, http.StatusOK, set.v2())
		default:
			writeKusto(w, http.StatusOK, set.v1())
		}
	}
}

// serveRows writes the rows of ?db=&table= as JSON lines.
func (s *Sim) serveRows(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if _, ok := s.catalog.columns(q.Get("db"), q.Get("table")); !ok {
		http.Error(w, "no such table", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, row := range s.catalog.rows(q.Get("db"), q.Get("table")) {
		if _, err := w.Write(append(row[:len(row):len(row)], '\n')); err != nil {
			return
		}
	}
}

func (s *Sim) serveStats(w http.ResponseWriter, _ *http.Request) {
	writeKusto(w, http.StatusOK, s.Stats())
}

// query answers `T`, `T | count` and `T | take n`; the names may be qualified
// as database('D').T.
func (s *Sim) query(_ *http.Request, c *command) (*dataset, *kustoError) {
	tokens, err := lex(strings.TrimSuffix(c.CSL, ";"))
	if err != nil {
		return nil, badCommand("General_BadRequest", "Syntax error: "+err.Error())
	}
	db := c.DB
	if len(tokens) > 5 && tokens[0].is("database") && tokens[1].is("(") && tokens[3].is(")") && tokens[4].is(".") {
		db, tokens = tokens[2].text, tokens[5:]
	}
	if len(tokens) == 0 || tokens[0].kind != wordToken {
		return nil, badCommand("General_BadRequest", "Syntax error: the simulator knows T, T | count and T | take n.")
	}
	name, rest := tokens[0].text, tokens[1:]
	columns, ok := s.catalog.columns(db, name)
	if !ok {
		return nil, entityNotFound("Table", name)
	}
	if len(rest) == 2 && rest[0].is("|") && rest[1].is("count") {
		return &dataset{[]Column{{"Count", "long"}}, [][]any{{s.catalog.count(db, name)}}}, nil
	}
	rows := s.catalog.rows(db, name)
	if len(rest) == 3 && rest[0].is("|") && (rest[1].is("take") || rest[1].is("limit")) {
		n, err := parseCount(rest[2].text)
		if err != nil {
			return nil, badCommand("General_BadRequest", "Syntax error: "+err.Error())
		}
		rows = rows[:min(n, len(rows))]
	} else if len(rest) != 0 {
		return nil, badCommand("General_BadRequest", "Syntax error: the simulator knows T, T | count and T | take n.")
	}
	set := &dataset{columns: columns}
	if len(columns) == 0 {
		set.columns = []Column{{"Document", "dynamic"}}
	}
	for _, row := range rows {
		if len(columns) == 0 {
			set.rows = append(set.rows, []any{json.RawMessage(row)})
			continue
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(row, &doc); err != nil {
			return nil, kustoErrorOf(http.StatusInternalServerError)
		}
		values := make([]any, len(columns))
		for i, c := range columns {
			values[i] = doc[c.Name]
		}
		set.rows = append(set.rows, values)
	}
	return set, nil
}

func kustoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
