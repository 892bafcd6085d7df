//go:build !linux

package datasync

import "os"

// File makes a file's data durable. The standard library asks for as much as
// the system has, on darwin for F_FULLFSYNC.
func File(f *os.File) error { return f.Sync() }
