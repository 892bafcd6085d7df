// Package record says what a record is: where one ends and the next begins,
// what is between records and belongs to none, and which bytes are no record.
// Everything that cuts or checks data on its way in, or cuts a payload on its
// way out, asks this package, so that all of it agrees.
//
// # What is promised
//
// A record is what the service reads as one (protocol reference section 11,
// RFC 4180, RFC 8259):
//
//   - [Lines]: a line. Its end is a newline with or without one carriage return.
//   - [QuotedLines]: a line in which a newline may stand inside a quoted field.
//     A double quote opens a field only as the field's first byte; inside, two
//     of them are one, and a lone one closes. A quote anywhere else is data.
//   - [JSONLines]: a line that holds exactly one JSON object.
//   - [Documents]: a JSON object. Objects follow each other with any white
//     space between them, or stand in an array, whose brackets and commas
//     belong to no record.
//
// Lines with nothing on them are passed over, and an array without an element
// is; for all but the JSON rules that means nothing at all, since a row of
// blanks or of empty fields is a row. A UTF-8 byte order mark in front of a record
// is cut away, wherever in the input it stands: files that were joined have
// them in the middle.
//
// Records that passed can be put one behind the other, a newline behind each,
// in any order and number, and are cut the same way again: no record takes a
// byte from its neighbours.
//
// A [Cutter] is fed bytes as they come; where they are split makes no
// difference to what it cuts. A [Reader] feeds one from an io.Reader. Memory is
// bounded by the largest record, [MaxBytes].
//
// # What goes wrong
//
// Bytes that are no record come back as a [Piece] of kind [Bad] with a
// [Fault], and cutting goes on behind them: behind the line, for a quote that
// never closes behind the line that opened it, for a document behind its last
// bracket. Only what is larger than [MaxBytes] ends it, because nobody
// holds enough of it to find its end.
//
// # What it does not do
//
// It does not look at values: numbers of fields, types and columns are the
// service's to check. It does not convert character sets. It imports the
// standard library only, does no I/O of its own and has no goroutines; no value of it may be
// used by two goroutines at once.
package record
