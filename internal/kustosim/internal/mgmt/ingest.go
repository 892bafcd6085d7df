package mgmt

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
)

const noExtent = "00000000-0000-0000-0000-000000000000"

// ingestCommand runs `.ingest [async] into table T (h'uri', ..) [with (..)]`
// and `.ingest inline into table T [with (..)] <| data` (protocol reference
// section 8). An async command replies at once and is carried out behind that.
func (s *Manager) ingest(ctx context.Context, c Command, m *lex.Reader, data string, inline bool) (*reply.Table, *reply.Error) {
	async := !inline && m.Words("async")
	syntax := reply.BadCommand("General_BadRequest", "Syntax error: the ingestion command is not understood.")
	if !m.Words("into") {
		return nil, syntax
	}
	m.Words("table")
	name := m.Next()
	if name.Kind != lex.Word {
		return nil, syntax
	}
	var uris []string
	if !inline {
		if m.Words("(") {
			for !m.Words(")") {
				uri := m.Next()
				if uri.Kind != lex.Text {
					return nil, syntax
				}
				uris = append(uris, uri.Text)
				m.Words(",")
			}
		} else if uri := m.Next(); uri.Kind == lex.Text {
			uris = append(uris, uri.Text)
		}
		if len(uris) == 0 {
			return nil, syntax
		}
	}
	props := make(map[string]json.RawMessage)
	if m.Words("with") {
		if !m.Words("(") {
			return nil, syntax
		}
		for !m.Words(")") {
			key, equals, value := m.Next(), m.Words("="), m.Next()
			if key.Kind == 0 || !equals || value.Kind == 0 {
				return nil, syntax
			}
			text, err := json.Marshal(value.Text)
			if err != nil {
				return nil, syntax
			}
			props[strings.ToLower(key.Text)] = text
			m.Words(",")
		}
	}
	if !m.Done() {
		return nil, syntax
	}

	done := &loggedCommand{clientID: c.ClientID, principal: c.Principal, operation: uuid.NewString(), db: c.DB, kind: "DataIngestPull",
		state: commandInProgress, started: time.Now()}
	if inline {
		done.kind = "DataIngestPush"
	}
	in := &ingestor.Command{Operation: done.operation, DB: c.DB, Table: name.Text, Properties: props, URIs: uris, Inline: inline, Data: data}
	// The effect comes for certain once the engine has begun, also for a client
	// that has left.
	ctx = context.WithoutCancel(ctx)
	s.commands.begin(*done)
	if async {
		s.running.Go(func() { s.carryOut(ctx, done, in) }) // the handler runs, so wait has not been called
		return &reply.Table{Columns: reply.Columns("OperationId", "guid"), Rows: [][]any{{done.operation}}}, nil
	}
	e, failure := s.carryOut(ctx, done, in)
	if failure != nil {
		return nil, failure
	}
	id := noExtent
	if e != nil {
		id = e.ID
	}
	return &reply.Table{Columns: reply.Columns("ExtentId", "guid", "ItemLoaded", "string", "Duration", "timespan", "HasErrors", "bool", "OperationId", "guid"),
		Rows: [][]any{{id, strings.Join(withoutQueries(uris), ","), "00:00:00", false, done.operation}}}, nil
}

// carryOut ingests what a command asks for, within the capacity, and books how
// it ended.
func (s *Manager) carryOut(ctx context.Context, done *loggedCommand, in *ingestor.Command) (*catalog.Extent, *reply.Error) {
	defer func() {
		done.ended = time.Now()
		s.commands.end(*done)
		s.Notify()
	}()
	if !s.commands.enter(s.IngestCapacity) {
		e := reply.ErrorOf(http.StatusTooManyRequests)
		done.state, done.reason = commandThrottled, e.Message
		s.Stats.Add(func(st *stats.Stats) { st.Throttled++ })
		return nil, e
	}
	defer s.commands.leave()
	s.Notify()
	if held := s.Ingestor.Held(in); held != nil {
		select {
		case <-held:
		case <-s.Done:
		}
	}
	if s.IngestTime > 0 {
		timer := time.NewTimer(s.IngestTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.Done:
		}
	}
	e, hit, bad := s.Ingestor.Direct(ctx, in)
	switch {
	case bad != nil:
		done.state, done.reason = commandFailed, bad.Code+": "+bad.Details
		s.Stats.Add(func(st *stats.Stats) { st.Failed[bad.Code]++ })
		return nil, reply.OfIngestion(bad)
	case hit != "":
		done.state, done.reason = commandSkipped, "an extent with tag ingest-by:"+hit+" exists"
		s.Stats.Add(func(st *stats.Stats) { st.SkippedByTag++ })
		if s.TagHitAsFailed {
			done.state, done.reason = commandFailed, ingestor.SkippedByTag+": "+done.reason
			return nil, reply.OfIngestion(parse.Permanentf(ingestor.SkippedByTag, "an extent with tag ingest-by:%s exists", hit))
		}
	default:
		done.state = commandCompleted
	}
	return e, nil
}

func withoutQueries(uris []string) []string {
	out := make([]string, len(uris))
	for i, u := range uris {
		out[i] = ingestor.WithoutQuery(u)
	}
	return out
}
