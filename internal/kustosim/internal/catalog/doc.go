// Package catalog holds databases, tables, columns, mappings, policies, and
// extents with their rows and tags.
//
// # Promise
//
// An extent appears with all of its rows and tags, and the columns that they
// need, or not at all. Extents and rows are told in the order of their commit.
// Every method may be called at any time from any goroutine.
//
// # Failure
//
// Entities that are missing or in the way are told with [ErrTableNotFound],
// [ErrTableExists], or a [parse.Error] with the code that an ingestion fails
// with. A refused change changes nothing.
//
// # What it does not do
//
// It keeps everything in memory. It does not order the look for a tag and the
// commit that follows: who ingests holds the turn (room ingestor). There are no
// retention, no merges of extents and no update policies.
package catalog
