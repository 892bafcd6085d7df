//go:build unix && !linux

package vfs

// Links is how many names lead to the file, for who asks at each commit.
func (o *osFile) Links() (int, error) { return o.fstatLinks() }
