//go:build !linux

package main

// settle does nothing where the system has no portable sync of everything.
func settle() {}
