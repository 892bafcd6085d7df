package main

import "golang.org/x/sys/unix"

// settle waits until what earlier measurements and other programs have written
// is on the disk, so that it is not flushed in the next one's time.
func settle() { unix.Sync() }
