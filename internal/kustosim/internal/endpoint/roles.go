package endpoint

import (
	"net/http"
	"strings"

	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
)

// Role is what a principal may do. Each role includes those before it. The
// service grants roles by database or table; here they hold for everything.
type Role int

// The roles, after protocol reference section 1.4.
const (
	// Viewer may query and run .show commands, and may not ingest.
	Viewer Role = iota + 1
	// Ingestor may also ingest, which begins with learning the resources.
	Ingestor
	// User may also create tables and mappings, and ask for the state of
	// operations and for capacity.
	User
	// Admin may do everything.
	Admin
)

var roleNames = map[Role]string{Viewer: "Viewer", Ingestor: "Ingestor", User: "User", Admin: "Admin"}

// String is the role's name.
func (r Role) String() string { return roleNames[r] }

// roleOf is the role that a request needs: by its command, else by its path.
func roleOf(r *http.Request, c *command) Role {
	switch {
	case c == nil && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/rest/ingestion/queued/"):
		return User
	case c == nil:
		return Ingestor
	case strings.HasSuffix(r.URL.Path, "/rest/query"):
		return Viewer
	}
	words := strings.Fields(strings.ToLower(c.CSL))
	has := func(prefix string) bool { return strings.HasPrefix(strings.Join(words, " "), prefix) }
	switch {
	case has(".get "), has(".show ingestion resources"), has(".ingest "):
		return Ingestor
	case has(".show operations"), has(".show capacity"), has(".create "), has(".create-merge "), has(".create-or-alter "):
		return User
	case has(".show "):
		return Viewer
	}
	return Admin
}

// authorize checks the bearer token of a request and the role of who holds it.
func (s *Endpoint) authorize(w http.ResponseWriter, r *http.Request, need Role) *reply.Error {
	if s.Token == "" && len(s.Principals) == 0 {
		return nil
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	role := s.Principals[token]
	if token != "" && token == s.Token {
		role = Admin
	}
	switch {
	case role == 0:
		w.Header().Set("WWW-Authenticate", "Bearer")
		return reply.ErrorOf(http.StatusUnauthorized)
	case role < need:
		e := reply.ErrorOf(http.StatusForbidden)
		e.Message = "Principal is not authorized to perform the operation; it needs the role " + need.String() + " and has " + role.String() + "."
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
		if err := s.authorize(w, r, roleOf(r, nil)); err != nil {
			port.Drain(r)
			err.Write(w, r)
			return
		}
		next(w, r)
	}
}

// noIngestionAPI is the PreferredIngestion of a service without the REST API.
const noIngestionAPI = "-"
