package mgmt

import (
	"slices"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/reply"
)

// maxCommands bounds the log of commands; the oldest are forgotten first.
const maxCommands = 100_000

// States of a command, as `.show commands` and `.show operations` tell them.
const (
	commandInProgress = "InProgress"
	commandCompleted  = "Completed"
	commandFailed     = "Failed"
	commandThrottled  = "Throttled"
	commandSkipped    = "Skipped"
)

// loggedCommand is one ingestion command.
type loggedCommand struct {
	clientID  string // x-ms-client-request-id
	principal string // who sent it
	operation string
	db        string
	kind      string // DataIngestPull, or DataIngestPush for inline
	state     string
	reason    string
	started   time.Time
	ended     time.Time
}

// commandLog is what the engine remembers of its ingestion commands, and the
// slots that those under way hold.
type commandLog struct {
	mu struct {
		sync.Mutex
		begun  []loggedCommand // and not ended
		ended  []loggedCommand
		active int
		peak   int
	}
}

// enter takes a slot of the capacity; false means that there is none.
func (l *commandLog) enter(capacity int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.active >= capacity {
		return false
	}
	l.mu.active++
	l.mu.peak = max(l.mu.peak, l.mu.active)
	return true
}

func (l *commandLog) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.active--
}

func (l *commandLog) consumed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.active
}

func (l *commandLog) begin(c loggedCommand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.begun = append(l.mu.begun, c)
}

func (l *commandLog) end(c loggedCommand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.begun = slices.DeleteFunc(l.mu.begun, func(b loggedCommand) bool { return b.operation == c.operation })
	if len(l.mu.ended) >= maxCommands {
		l.mu.ended = slices.Delete(l.mu.ended, 0, maxCommands/10)
	}
	l.mu.ended = append(l.mu.ended, c)
}

// find lists the commands that keep likes, oldest first: those that have
// ended, and then those under way.
func (l *commandLog) find(keep func(*loggedCommand) bool) []loggedCommand {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []loggedCommand
	for _, list := range [][]loggedCommand{l.mu.ended, l.mu.begun} {
		for i := range list {
			if keep(&list[i]) {
				out = append(out, list[i])
			}
		}
	}
	return out
}

// showCommands runs `.show commands [| where ClientActivityId == 'x']` and
// `.. | where ClientActivityId in ('x', 'y')`. It lists commands that have ended,
// of others only to who may see them
// (https://learn.microsoft.com/kusto/management/commands).
func (s *Manager) showCommands(by Command, m *lex.Reader) (*reply.Table, *reply.Error) {
	var ids []string
	filtered := false
	if m.Words("|", "where", "ClientActivityId") {
		filtered = true
		switch {
		case m.Words("=", "="):
			ids = append(ids, m.Next().Text)
		case m.Words("in", "("):
			for !m.Done() && !m.Words(")") {
				ids = append(ids, m.Next().Text)
				m.Words(",")
			}
		default:
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the condition on commands is not understood.")
		}
	}
	if !m.Done() {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	set := &reply.Table{Columns: reply.Columns("ClientActivityId", "string", "CommandType", "string", "Database", "string", "StartedOn", "datetime", "LastUpdatedOn", "datetime", "State", "string", "FailureReason", "string")}
	for _, c := range s.commands.find(func(c *loggedCommand) bool {
		return c.state != commandInProgress && by.sees(c) && (!filtered || slices.Contains(ids, c.clientID))
	}) {
		state := c.state
		if state == commandSkipped {
			state = commandCompleted // the log of commands knows no such state
		}
		set.Rows = append(set.Rows, []any{c.clientID, c.kind, c.db, parse.FormatTime(c.started), parse.FormatTime(c.ended), state, c.reason})
	}
	return set, nil
}

// sees is whether who sent c may see what is logged of another command.
func (c *Command) sees(other *loggedCommand) bool { return c.SeesAll || other.principal == c.Principal }

// showOperations runs `.show operations [id, ..]`, with or without parentheses.
// It lists what others began only to who may see that
// (https://learn.microsoft.com/kusto/management/show-operations).
func (s *Manager) showOperations(by Command, m *lex.Reader) (*reply.Table, *reply.Error) {
	var ids []string
	m.Words("(")
	for !m.Done() && !m.Words(")") {
		id := m.Next()
		if id.Kind == lex.Symbol {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
		}
		ids = append(ids, id.Text)
		m.Words(",")
	}
	if !m.Done() {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	set := &reply.Table{Columns: reply.Columns("OperationId", "guid", "Operation", "string", "NodeId", "string", "StartedOn", "datetime", "LastUpdatedOn", "datetime", "Duration", "timespan", "State", "string", "Status", "string")}
	for _, c := range s.commands.find(func(c *loggedCommand) bool { return by.sees(c) && (len(ids) == 0 || slices.Contains(ids, c.operation)) }) {
		set.Rows = append(set.Rows, []any{c.operation, c.kind, "", parse.FormatTime(c.started), parse.FormatTime(c.ended), "00:00:00", c.state, c.reason})
	}
	return set, nil
}

// showCapacity runs `.show capacity [ingestions]`.
func (s *Manager) showCapacity() *reply.Table {
	consumed := s.commands.consumed()
	return &reply.Table{Columns: reply.Columns("Resource", "string", "Total", "long", "Consumed", "long", "Remaining", "long", "Origin", "string"),
		Rows: [][]any{{"Ingestions", s.IngestCapacity, consumed, max(0, s.IngestCapacity-consumed), "CapacityPolicy/Ingestion"}}}
}

// Peak is the most ingestion commands that were under way at once.
func (s *Manager) Peak() int {
	s.commands.mu.Lock()
	defer s.commands.mu.Unlock()
	return s.commands.mu.peak
}

// UnderWay is how many ingestion commands have begun and not ended.
func (s *Manager) UnderWay() int {
	s.commands.mu.Lock()
	defer s.commands.mu.Unlock()
	return len(s.commands.mu.begun)
}
