package endpoint

import (
	"net/http"
	"strings"

	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
)

// Role is what a principal may do: one role, or several joined by |. Only Admin
// includes the others. [Grants] say whose they are, and where.
type Role int

// The roles, after
// https://learn.microsoft.com/kusto/access-control/role-based-access-control.
const (
	// Viewer reads data and metadata: queries and .show commands.
	Viewer Role = 1 << iota
	// Ingestor ingests, which begins with learning the resources, makes ingestion
	// mappings, and asks for queued operations. It does not query, nor look at a
	// table's extents.
	Ingestor
	// User reads as a Viewer does and creates tables, of which it becomes the Admin.
	// To ingest into others it needs to be an Ingestor as well.
	User
	// Monitor runs .show commands and does not query.
	Monitor
	// Admin may do everything.
	Admin

	allRoles = Viewer | Ingestor | User | Monitor | Admin
)

var roleNames = []struct {
	role Role
	name string
}{{Viewer, "Viewer"}, {Ingestor, "Ingestor"}, {User, "User"}, {Monitor, "Monitor"}, {Admin, "Admin"}}

// String is the role's name; names of several are joined by +.
func (r Role) String() string { return r.names("+") }

func (r Role) names(separator string) string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, separator)
}

// Valid reports whether r is a role, or some.
func (r Role) Valid() bool { return r != 0 && r&^allRoles == 0 }

// ParseRole reads a role's name in any case, or several joined by +.
func ParseRole(text string) (r Role, ok bool) {
	for part := range strings.SplitSeq(text, "+") {
		found := Role(0)
		for _, n := range roleNames {
			if strings.EqualFold(part, n.name) {
				found = n.role
			}
		}
		if found == 0 {
			return 0, false
		}
		r |= found
	}
	return r, true
}

// anybody is what a request needs for which any role is enough.
const anybody = allRoles

// need is what a request takes: a role of each of the sets, on the table if it
// names one. An Admin always has it.
type need struct {
	roles     []Role
	db, table string
	anywhere  bool // on some table, where the request names none
}

// String is the roles in words.
func (n need) String() string {
	var words []string
	for _, r := range n.roles {
		words = append(words, r.names(" or "))
	}
	return strings.Join(words, " and ")
}

// needOf is what a request takes, by its command, else by its path.
func needOf(r *http.Request, c *command) need {
	if c == nil {
		n := need{roles: []Role{Ingestor}, db: r.PathValue("db"), table: r.PathValue("table")}
		switch {
		case n.table == "":
			// Its page wants an Ingestor of a table, and it names none.
			// https://learn.microsoft.com/kusto/management/data-ingestion/queued-ingest-configuration-http
			n.anywhere = true
		case strings.HasPrefix(r.URL.Path, "/v1/rest/ingestion/queued/"):
			// https://learn.microsoft.com/kusto/management/data-ingestion/queued-ingest-use-http
			// https://learn.microsoft.com/kusto/management/data-ingestion/queued-ingest-status-http
			// Both want an Ingestor of the table and a User of the database.
			n.roles = []Role{Ingestor, User}
		}
		return n
	}
	if strings.HasSuffix(r.URL.Path, "/rest/query") {
		return need{roles: []Role{Viewer | User}}
	}
	n := need{db: c.DB, table: tableOf(c.CSL)}
	role := roleOf(c.CSL)
	n.roles = []Role{role}
	n.anywhere = n.table == "" && role == Ingestor
	return n
}

// roleOf is the role that a management command takes, or several of which one is
// enough; 0 where only an Admin may.
func roleOf(csl string) Role {
	words := strings.Join(strings.Fields(strings.ToLower(csl)), " ") + " "
	has := func(prefix string) bool { return strings.HasPrefix(words, prefix+" ") }
	switch {
	case has(".get"), has(".show ingestion resources"):
		// No page tells; clients that ingest begin with these, and take no more.
		return Ingestor
	case has(".ingest"):
		// https://learn.microsoft.com/kusto/management/data-ingestion/ingest-inline and
		// https://learn.microsoft.com/kusto/management/data-ingestion/ingest-from-storage
		return Ingestor
	case has(".show queued ingestion operations"):
		// https://learn.microsoft.com/kusto/management/data-ingestion/show-queued-ingestion-operations
		return Ingestor
	case has(".show commands"), has(".show operations"):
		// Everybody sees what is one's own, see seesAll.
		return anybody
	case has(".show capacity"):
		// https://learn.microsoft.com/kusto/management/show-capacity-command
		return User
	case has(".show"):
		// https://learn.microsoft.com/kusto/management/show-extents, of a database's
		// extents; the page names no other role for those of a table.
		return Viewer | User | Monitor
	case createsMapping(csl):
		// https://learn.microsoft.com/kusto/management/create-ingestion-mapping-command
		return Ingestor
	case has(".create"), has(".create-merge"), has(".create-or-alter"):
		return User
	}
	return 0
}

// tableOf is the table that a management command names, empty for none.
func tableOf(csl string) string {
	tokens, _, _, err := lex.Head(csl)
	if err != nil {
		return ""
	}
	m := &lex.Reader{Tokens: tokens}
	switch {
	case m.Words(".ingest"):
		for !m.Done() && !m.Words("into") {
			m.Next()
		}
		m.Words("table")
	case m.Words(".create", "table"), m.Words(".create-merge", "table"), m.Words(".create-or-alter", "table"),
		m.Words(".alter", "table"), m.Words(".drop", "table"), m.Words(".show", "table"):
	default:
		return ""
	}
	return m.Next().Text
}

// createsMapping is whether a command is
// .create[-or-alter] table T ingestion KIND mapping ...
func createsMapping(text string) bool {
	tokens, _, _, err := lex.Head(text)
	m := &lex.Reader{Tokens: tokens}
	if err != nil || !m.Words(".create", "table") && !m.Words(".create-or-alter", "table") {
		return false
	}
	m.Next()
	return m.Words("ingestion")
}

// seesAll is whether a role sees the commands and operations of others too:
// database admins and monitors see commands
// (https://learn.microsoft.com/kusto/management/commands), admins see operations
// (https://learn.microsoft.com/kusto/management/show-operations), and monitors by
// their role, which is that of .show commands.
func (r Role) seesAll() bool { return r&(Admin|Monitor) != 0 }

// bearer is the token that stands for the principal of a request.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// authorize checks the bearer token of a request and the roles of who holds it.
func (s *Endpoint) authorize(w http.ResponseWriter, r *http.Request, n need) *reply.Error {
	principal := bearer(r)
	anywhere, role := s.Grants.Anywhere(principal), s.Grants.Of(principal, n.db, n.table)
	if anywhere == 0 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return reply.ErrorOf(http.StatusUnauthorized)
	}
	if n.anywhere {
		role = anywhere
	}
	for _, one := range n.roles {
		if role&(one|Admin) == 0 {
			e := reply.ErrorOf(http.StatusForbidden)
			needed, has := n.String(), role.String()
			if needed == "" {
				needed = Admin.String()
			}
			if has == "" {
				has = "none"
			}
			e.Message = "Principal is not authorized to perform the operation; it needs the role " + needed + " and has " + has + "."
			return e
		}
	}
	return nil
}

// permitted puts the check of the bearer before a handler that takes no command.
func (s *Endpoint) permitted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply.Stamp(w, r)
		if s.PreferredIngestion == noIngestionAPI {
			port.Drain(r)
			reply.ErrorOf(http.StatusNotFound).Write(w, r)
			return
		}
		if err := s.authorize(w, r, needOf(r, nil)); err != nil {
			port.Drain(r)
			err.Write(w, r)
			return
		}
		next(w, r)
	}
}

// noIngestionAPI is the PreferredIngestion of a service without the REST API.
const noIngestionAPI = "-"
