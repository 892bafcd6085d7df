//go:build !windows && !386 && !arm && !mips && !mipsle

package ledger

// initialMap is the mapping to ask bbolt for, in bytes, so that a growing file
// is not mapped anew, which would wait for its readers. It costs address space
// only.
const initialMap = 64 << 20
