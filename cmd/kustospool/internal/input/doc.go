// Package input opens what the command is given, files, archives and streams,
// and cuts it into the records that a spool takes, by the rules of package
// record. An input of a format that does not concatenate is one object, and its
// bytes are given out as they are.
//
// # What is promised
//
// Records come in the input's order. Memory is bounded by the largest record
// the service takes, [ingest.MaxRecordBytes], whatever the input holds. An input
// that begins with what its format cannot begin with (package content) gives
// out nothing.
//
// # What goes wrong
//
// An input that breaks a rule gives an [Error] that names the file, the line
// and the rule and matches [ingest.ErrInvalid]; the records before it were
// already given out. [Source.Check] reads a regular file, and all files of an
// archive, to the end beforehand, so that nothing of a bad one needs to be
// stored. What is no record is such an error only where the policy is to stop.
//
// # What it does not do
//
// It converts no character sets, and leaves reading archives for good to the
// engine.
package input
