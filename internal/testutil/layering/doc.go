// Package layering holds no code: its tests are the module's architecture.
//
// They read what the go command knows of every package and fail when one
// imports what its layer may not, has no package comment, or is in no layer
// at all; and they read every source file for the few habits that a compiler
// does not enforce. A new package gets a row in the table of layers first.
package layering
