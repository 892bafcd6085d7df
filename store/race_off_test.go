//go:build !race

package store_test

// raceFactor is 1 where memory is the program's own.
const raceFactor = 1
