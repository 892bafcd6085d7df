// Package lex splits the text of a Kusto command or query into tokens.
//
// # Promise
//
// A literal is read as the service's language defines it: single or double
// quotes with backslash escapes, verbatim, between three back-ticks,
// obfuscated. What follows "<|" is left alone.
//
// # Failure
//
// Text that is no sequence of tokens is an error without a position: the
// simulator answers every such text with the same 400.
//
// # What it does not do
//
// It knows no grammar. Rooms mgmt and endpoint decide what a sequence of words
// means, with a [Reader].
package lex
