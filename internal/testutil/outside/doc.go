// Package outside holds no code: its test builds a program of another module
// that imports this one, by the commands that README gives for it.
package outside
