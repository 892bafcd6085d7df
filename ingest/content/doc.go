// Package content tells from the first bytes of a source whether it can be
// what its name or its caller says: text of a text format, or a file of a
// binary one.
//
// # What is promised
//
// [Check] refuses what could only end as garbage in a table: archives and
// compressed data that were not unpacked, files of other formats, UTF-16 and
// UTF-32, bytes with NULs where text should be, and a W3C log without a
// directive. The [Mismatch] says what the bytes are and what would take them.
//
// # What it does not do
//
// It looks at the first [HeadBytes] bytes and not at the rest: that they pass says
// nothing about the records. It knows the formats that people mistake for one
// another and no others, and it unpacks and converts nothing.
package content
