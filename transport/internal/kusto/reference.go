package kusto

import (
	"strings"

	"kustospool/transport"
)

// referenceClasses are the codes that mean something else where the blob is
// the caller's and not one that this client uploaded: to upload it again is
// not possible. A blob that is not there is this batch's own fault; access
// that is refused can be given.
var referenceClasses = map[string]transport.Class{
	"download_sourcenotfound":              transport.Permanent,
	"download_accountnotfound":             transport.Permanent,
	"download_badrequest":                  transport.Permanent,
	"download_nottransient":                transport.Permanent,
	"badrequest_emptybloburi":              transport.Permanent,
	"badrequest_invalidbloburi":            transport.Permanent,
	"download_forbidden":                   transport.Held,
	"download_accessconditionnotsatisfied": transport.Held,
}

// ReferenceClass is the class of a failure with this code for a batch that is a
// reference to a blob, where c is its class for any other batch.
func ReferenceClass(code string, c transport.Class) transport.Class {
	if r, ok := referenceClasses[strings.ToLower(strings.TrimSpace(code))]; ok {
		return r
	}
	return c
}
