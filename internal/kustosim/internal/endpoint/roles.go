package endpoint

import (
	"net/http"
	"strings"

	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
)

// Role is what a principal may do: one role, or several joined by |. Only Admin
// includes the others. The service grants roles by database or table; here they
// hold for everything.
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
	// User reads as a Viewer does and creates tables. The service makes it the
	// admin of the tables that it created, the simulator does not: to ingest it
	// needs to be an Ingestor as well.
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

// rolesFor are the roles of which a request needs one, by its command, else by
// its path. An Admin always has it.
func rolesFor(r *http.Request, c *command) Role {
	switch {
	case c == nil && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/rest/ingestion/queued/"):
		// https://learn.microsoft.com/kusto/management/data-ingestion/queued-ingest-status-http
		return User
	case c == nil:
		return Ingestor
	case strings.HasSuffix(r.URL.Path, "/rest/query"):
		return Viewer | User
	}
	words := strings.Join(strings.Fields(strings.ToLower(c.CSL)), " ") + " "
	has := func(prefix string) bool { return strings.HasPrefix(words, prefix+" ") }
	switch {
	case has(".get"), has(".show ingestion resources"), has(".ingest"):
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
	case createsMapping(c.CSL):
		// https://learn.microsoft.com/kusto/management/create-ingestion-mapping-command
		return Ingestor
	case has(".create"), has(".create-merge"), has(".create-or-alter"):
		return User
	}
	return Admin
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

// role is that of who holds a bearer token, 0 for nobody; everybody is an Admin
// where the service asks for no token.
func (s *Endpoint) role(r *http.Request) Role {
	if s.Token == "" && len(s.Principals) == 0 {
		return Admin
	}
	token := bearer(r)
	if token != "" && token == s.Token {
		return Admin
	}
	return s.Principals[token]
}

// bearer is the token that stands for the principal of a request.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// authorize checks the bearer token of a request and the role of who holds it.
func (s *Endpoint) authorize(w http.ResponseWriter, r *http.Request, need Role) *reply.Error {
	role := s.role(r)
	switch {
	case role == 0:
		w.Header().Set("WWW-Authenticate", "Bearer")
		return reply.ErrorOf(http.StatusUnauthorized)
	case role&(need|Admin) == 0:
		e := reply.ErrorOf(http.StatusForbidden)
		e.Message = "Principal is not authorized to perform the operation; it needs the role " + need.names(" or ") + " and has " + role.String() + "."
		return e
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
		if err := s.authorize(w, r, rolesFor(r, nil)); err != nil {
			port.Drain(r)
			err.Write(w, r)
			return
		}
		next(w, r)
	}
}

// noIngestionAPI is the PreferredIngestion of a service without the REST API.
const noIngestionAPI = "-"
