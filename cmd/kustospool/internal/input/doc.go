// Package input cuts files and streams into the records that a spool takes:
// lines, quoted lines or JSON documents, by format. An input of any other
// format is one object, and its bytes are given out as they are.
//
// # What is promised
//
// Every byte of an input of records is part of exactly one record, of a blank line, of
// the header that was to be skipped, or of the white space between documents.
// Records come in the input's order. Memory is bounded by the largest record
// the service takes, [ingest.MaxRecordBytes], whatever the input holds.
//
// # What goes wrong
//
// An input that breaks a rule gives an [Error] that names the file, the line
// and the rule and matches [ingest.ErrInvalid]; the records before it were
// already given out. [Source.Check] reads a regular file to its end
// beforehand, so that nothing of a bad file needs to be stored.
//
// # What it does not do
//
// It does not parse records beyond finding their end, does not convert
// character sets, and leaves zip archives to the engine.
package input
