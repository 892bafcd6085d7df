// Package reply writes what the Kusto endpoint answers: tables in the forms of
// v1 and v2, and errors.
//
// # Promise
//
// Every error has the fields that clients decide by: status, code, @type and
// @permanent.
//
// # Failure
//
// A table that cannot be encoded is answered as an internal error.
//
// # What it does not do
//
// There are no progressive frames and no statistics beside a table.
package reply
