//go:build race

package store_test

// raceFactor is how many times the memory the race detector takes.
const raceFactor = 3
