package kustosim

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

const noExtent = "00000000-0000-0000-0000-000000000000"

// ingestCommand runs `.ingest [async] into table T (h'uri', ..) [with (..)]`
// and `.ingest inline into table T [with (..)] <| data` (protocol reference
// section 8). An async command replies at once and is carried out behind that.
func (s *manager) ingest(ctx context.Context, c Command, m *reader, data string, inline bool) (*dataset, *kustoError) {
	async := !inline && m.words("async")
	syntax := badCommand("General_BadRequest", "Syntax error: the ingestion command is not understood.")
	if !m.words("into") {
		return nil, syntax
	}
	m.words("table")
	name := m.next()
	if name.kind != wordToken {
		return nil, syntax
	}
	var uris []string
	if !inline {
		if m.words("(") {
			for !m.words(")") {
				uri := m.next()
				if uri.kind != textToken {
					return nil, syntax
				}
				uris = append(uris, uri.text)
				m.words(",")
			}
		} else if uri := m.next(); uri.kind == textToken {
			uris = append(uris, uri.text)
		}
		if len(uris) == 0 {
			return nil, syntax
		}
	}
	props := make(map[string]json.RawMessage)
	if m.words("with") {
		if !m.words("(") {
			return nil, syntax
		}
		for !m.words(")") {
			key, equals, value := m.next(), m.words("="), m.next()
			if key.kind == 0 || !equals || value.kind == 0 {
				return nil, syntax
			}
			text, err := json.Marshal(value.text)
			if err != nil {
				return nil, syntax
			}
			props[strings.ToLower(key.text)] = text
			m.words(",")
		}
	}
	if !m.done() {
		return nil, syntax
	}

	done := &loggedCommand{clientID: c.clientID, operation: uuid.NewString(), db: c.db, kind: "DataIngestPull",
		state: commandInProgress, started: time.Now()}
	if inline {
		done.kind = "DataIngestPush"
	}
	in := &ingestCommand{operation: done.operation, db: c.db, table: name.text, properties: props, uris: uris, inline: inline, data: data}
	// The effect comes for certain once the engine has begun, also for a client
	// that has left.
	ctx = context.WithoutCancel(ctx)
	s.commands.begin(*done)
	if async {
		s.running.Go(func() { s.carryOut(ctx, done, in) }) // the handler runs, so wait has not been called
		return &dataset{columns("OperationId", "guid"), [][]any{{done.operation}}}, nil
	}
	e, failure := s.carryOut(ctx, done, in)
	if failure != nil {
		return nil, failure
	}
	id := noExtent
	if e != nil {
		id = e.ID
	}
	return &dataset{columns("ExtentId", "guid", "ItemLoaded", "string", "Duration", "timespan", "HasErrors", "bool", "OperationId", "guid"),
		[][]any{{id, strings.Join(withoutQueries(uris), ","), "00:00:00", false, done.operation}}}, nil
}

// carryOut ingests what a command asks for, within the capacity, and books how
// it ended.
func (s *manager) carryOut(ctx context.Context, done *loggedCommand, in *ingestCommand) (*Extent, *kustoError) {
	defer func() {
		done.ended = time.Now()
		s.commands.end(*done)
		s.notify()
	}()
	if !s.commands.enter(s.ingestCapacity) {
		e := kustoErrorOf(http.StatusTooManyRequests)
		done.state, done.reason = commandThrottled, e.message
		s.stats.add(func(st *Stats) { st.Throttled++ })
		return nil, e
	}
	defer s.commands.leave()
	s.notify()
	if held := s.ingestor.held(in); held != nil {
		select {
		case <-held:
		case <-s.done:
		}
	}
	if s.ingestTime > 0 {
		timer := time.NewTimer(s.ingestTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
		}
	}
	e, hit, bad := s.ingestor.direct(ctx, in)
	switch {
	case bad != nil:
		done.state, done.reason = commandFailed, bad.code+": "+bad.details
		s.stats.add(func(st *Stats) { st.Failed[bad.code]++ })
		return nil, ingestReply(bad)
	case hit != "":
		done.state, done.reason = commandSkipped, "an extent with tag ingest-by:"+hit+" exists"
		s.stats.add(func(st *Stats) { st.SkippedByTag++ })
		if s.tagHitAsFailed {
			done.state, done.reason = commandFailed, skippedByTag+": "+done.reason
			return nil, ingestReply(permanent(skippedByTag, "an extent with tag ingest-by:%s exists", hit))
		}
	default:
		done.state = commandCompleted
	}
	return e, nil
}

func withoutQueries(uris []string) []string {
	out := make([]string, len(uris))
	for i, u := range uris {
		out[i] = withoutQuery(u)
	}
	return out
}
