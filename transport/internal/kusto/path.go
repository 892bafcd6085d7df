package kusto

import (
	"errors"
	"net/url"

	"kustospool/ingest"
	"kustospool/transport"
)

// tableURL is the address of a table under root, which ends in a slash. A name
// that is no name of a table is refused here as well, whoever let it through:
// a step such as ".." stays one when it is escaped, and the request, with its
// token, would be another one than was meant.
func tableURL(op, root, database, table string) (string, error) {
	if err := errors.Join(ingest.CheckName("database", database), ingest.CheckName("table", table)); err != nil {
		return "", &transport.Error{Op: op, Class: transport.Permanent, Code: transport.CodeName, Message: err.Error()}
	}
	return root + url.PathEscape(database) + "/" + url.PathEscape(table), nil
}
