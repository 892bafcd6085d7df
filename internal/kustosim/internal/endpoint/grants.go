package endpoint

import "sync"

// Grants are the roles of the principals, each known by its bearer token: those of
// the database, of which there is one set for all databases, and those of single
// tables.
type Grants struct {
	token      string // of an Admin
	principals map[string]Role

	mu     sync.Mutex
	tables map[tableName]map[string]Role // guarded by mu
}

type tableName struct{ db, table string }

// TableRole is a role that is granted for one table: Ingestor or Admin. The service
// grants it to who is a User or an Ingestor of the database already
// (https://learn.microsoft.com/kusto/access-control/role-based-access-control);
// the simulator does not look.
type TableRole struct {
	Principal       string // a bearer token
	Database, Table string
	Role            Role
}

// NewGrants holds what the options of a simulator say. Where they name nobody
// everybody is an Admin.
func NewGrants(token string, principals map[string]Role, tables []TableRole) *Grants {
	g := &Grants{token: token, principals: principals, tables: make(map[tableName]map[string]Role)}
	for _, t := range tables {
		g.Grant(t)
	}
	return g
}

// Grant adds a role of a table.
func (g *Grants) Grant(t TableRole) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := tableName{t.Database, t.Table}
	if g.tables[of] == nil {
		g.tables[of] = make(map[string]Role)
	}
	g.tables[of][t.Principal] |= t.Role
}

// Of is what a principal may do with a table, or, without one, with the database; 0
// for who is unknown.
func (g *Grants) Of(principal, db, table string) Role {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.token == "" && len(g.principals) == 0, principal != "" && principal == g.token:
		return Admin
	case table == "":
		return g.principals[principal]
	}
	return g.principals[principal] | g.tables[tableName{db, table}][principal]
}

// Anywhere is what a principal may do with the database or with some table.
func (g *Grants) Anywhere(principal string) Role {
	role := g.Of(principal, "", "")
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, roles := range g.tables {
		role |= roles[principal]
	}
	return role
}

// MayIngest reports whether the holder of an identity token may ingest into a table.
func (g *Grants) MayIngest(principal, db, table string) bool {
	return g.Of(principal, db, table)&(Ingestor|Admin) != 0
}
