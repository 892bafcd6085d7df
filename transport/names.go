package transport

import (
	"errors"

	"kustospool/ingest"
)

// CodeName is the code of the error for a batch whose names no request may hold.
const CodeName = "Name"

// CheckNames checks the names of a batch's database and table before anything
// is built of them. The engine has done so for what it stored; a batch of a spool that
// an older version wrote may have others. The error is Permanent: no operator
// can make such a name good, and the payload is kept in the dead letters.
func CheckNames(b *ingest.Batch) *Error {
	p := &b.Properties
	if err := errors.Join(ingest.CheckName("database", p.Database), ingest.CheckName("table", p.Table)); err != nil {
		return &Error{Op: "send", Class: Permanent, Code: CodeName, Message: err.Error()}
	}
	return nil
}
