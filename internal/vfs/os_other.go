//go:build !linux

package vfs

// WriteVAt writes one buffer after the other.
func (o *osFile) WriteVAt(bufs [][]byte, off int64) (n int, err error) {
	for _, b := range bufs {
		k, err := o.WriteAt(b, off+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
