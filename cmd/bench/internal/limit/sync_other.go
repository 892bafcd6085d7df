//go:build !linux

package limit

import "os"

// syncData makes a file's data durable. The standard library asks for as much
// as the system has, on darwin for F_FULLFSYNC.
func syncData(f *os.File) error { return f.Sync() }
