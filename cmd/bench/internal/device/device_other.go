//go:build !linux

package device

import "errors"

// Written has no counter to read on this system.
func Written(string) (int64, error) { return 0, errors.ErrUnsupported }

// Settle does nothing: the system has no sync of one file system.
func Settle(string) error { return nil }
