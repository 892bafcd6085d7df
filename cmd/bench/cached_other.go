//go:build !linux

package main

import "errors"

// dropCached is for Linux only.
func dropCached(string) error { return errors.ErrUnsupported }
