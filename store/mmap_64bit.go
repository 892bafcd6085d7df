//go:build unix && (amd64 || arm64)

package store

// initialMap is the mapping to ask for, so that a growing file is not mapped
// anew, which would wait for its readers. It costs address space only.
func initialMap(bytes int64) int { return int(bytes) }
