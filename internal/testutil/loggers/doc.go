// Package loggers holds zap and zerolog against a table of a spool: the recipes of
// docs/adapters.md, which a test compares with their text here, are run into the
// simulator, and the rows are read as the columns' types.
//
// It is a module of its own, so that the loggers stay out of the product's go.mod.
// .ci/run runs its tests.
package loggers
