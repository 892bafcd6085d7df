package memfs

import (
	"errors"
	"io"
	"io/fs"

	"kustospool/internal/vfs"
)

// file is an open file.
type file struct {
	fs       *FS
	n        *node
	name     string
	readOnly bool
	lock     bool
	closed   bool // guarded by fs.mu
}

var _ vfs.VectorWriter = (*file)(nil)

// begin checks what all calls check. The caller holds the lock.
func (h *file) begin(op Op, name string) error {
	if h.closed {
		return failed(name, h.name, fs.ErrClosed)
	}
	if err := h.fs.begin(op); err != nil {
		return failed(name, h.name, err)
	}
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin(Read, "read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, failed("read", h.name, errors.New("negative offset"))
	}
	if off >= int64(len(h.n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.write(p, off)
}

// WriteVAt is one write: a cut or a failure takes any part of it.
func (h *file) WriteVAt(bufs [][]byte, off int64) (int, error) {
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	return h.WriteAt(all, off)
}

func (h *file) write(p []byte, off int64) (int, error) {
	if off < 0 || h.readOnly {
		return 0, failed("write", h.name, fs.ErrPermission)
	}
	if err := h.begin(Write, "write"); err != nil {
		if !h.closed && !errors.Is(err, ErrOff) && len(p) > 0 {
			// A write that fails has written any part of it.
			n := h.fs.rng.IntN(len(p))
			if room, _ := h.fs.room(off + int64(n) - int64(len(h.n.data))); room >= off+int64(n)-int64(len(h.n.data)) {
				h.n.write(p[:n], off)
				return n, err
			}
		}
		return 0, err
	}
	if len(p) == 0 {
		return 0, h.fs.end()
	}
	grow := off + int64(len(p)) - int64(len(h.n.data))
	if room, err := h.fs.room(grow); err != nil {
		n := max(int64(len(p))-(grow-room), 0)
		h.n.write(p[:n], off)
		return int(n), failed("write", h.name, err)
	}
	h.n.write(p, off)
	if err := h.fs.end(); err != nil {
		return 0, failed("write", h.name, err)
	}
	return len(p), nil
}

func (h *file) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if size < 0 || h.readOnly {
		return failed("truncate", h.name, fs.ErrPermission)
	}
	if err := h.begin(Truncate, "truncate"); err != nil {
		return err
	}
	if _, err := h.fs.room(size - int64(len(h.n.data))); err != nil {
		return failed("truncate", h.name, err)
	}
	h.n.truncate(size)
	return h.fs.end()
}

func (h *file) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin(Sync, "sync"); err != nil {
		if !h.closed && !errors.Is(err, ErrOff) {
			h.n.settle(h.fs.rng)
		}
		return err
	}
	h.n.sync()
	return h.fs.end()
}

func (h *file) Stat() (vfs.Info, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return vfs.Info{}, failed("stat", h.name, fs.ErrClosed)
	}
	if h.fs.off {
		return vfs.Info{}, failed("stat", h.name, ErrOff)
	}
	return h.fs.info(h.n, baseOf(h.name)), nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return failed("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	h.n.open--
	if h.lock {
		delete(h.fs.locks, h.name)
	}
	return nil
}
