//go:build !linux

package main

// diskWritten is not told by this system in bytes.
func diskWritten() int64 { return 0 }
