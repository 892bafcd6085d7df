// Package parse makes rows of data: delimited text and JSON, by position, by
// name or by an ingestion mapping, into columns with types or without.
//
// # Promise
//
// The same data, columns and mapping give the same rows, and a row is valid
// JSON. In a table without a schema a document is kept byte for byte. A value
// that does not convert to its column's type is null and never fails the data; a
// string is never null.
// Rows may point into the data that they were made of, so that a million of
// them cost little; the data must not be changed afterwards.
//
// # Failure
//
// Data fails as a whole, with an [Error] whose code is one of the service's.
// Malformed lines of format json are counted, or fail it where the caller is
// strict.
//
// # What it does not do
//
// It reads no compression, no Avro, Parquet or ORC (one row with a digest
// stands for such data), and knows no tables: the caller brings the columns.
package parse
