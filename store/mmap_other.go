//go:build !(unix && (amd64 || arm64))

package store

// initialMap asks for nothing: on Windows bbolt grows the file itself to the
// mapping, and a 32-bit address space is too small to be generous.
func initialMap(int64) int { return 0 }
