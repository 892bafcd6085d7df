package wal

import (
	"errors"
	"io"

	"kustospool/internal/vfs"
)

// read gives the bytes of the frame at off, or where its header is not one a
// window of bytes.
func (s *scan) read(off, end int64) ([]byte, error) {
	if s.win == nil {
		s.win = windows.Get().(*[]byte)
	}
	want := frameHeaderLen
	for range 2 {
		if off < s.winOff || off+int64(want) > s.winOff+int64(s.winLen) {
			if err := s.fill(off, want, end); err != nil {
				return nil, err
			}
		}
		p := (*s.win)[off-s.winOff : s.winLen]
		h, err := parseHeader(s.l.opts.Spool, p)
		if err != nil {
			return p, nil
		}
		if want = frameHeaderLen + h.body; len(p) >= want {
			return p[:want:want], nil
		}
		if off+int64(want) > end {
			return p, nil
		}
	}
	return (*s.win)[off-s.winOff : s.winLen], nil
}

// fill reads at off: a window where the next frame is near, else one frame.
func (s *scan) fill(off int64, want int, end int64) error {
	n := int64(want)
	if s.near {
		n = max(n, readWindow)
	} else {
		s.want(off, end)
		n = max(n, 8<<10)
	}
	n = min(n, end-off)
	if n <= 0 {
		s.winOff, s.winLen = off, 0
		return nil
	}
	if int64(cap(*s.win)) < n {
		*s.win = make([]byte, n)
	}
	*s.win = (*s.win)[:cap(*s.win)]
	s.winOff, s.winLen = off, 0
	if err := readFull(s.r.file, (*s.win)[:n], off); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// The file is shorter than it was.
			clear((*s.win)[:n])
			m, _ := s.r.file.ReadAt((*s.win)[:n], off)
			s.winLen = m
			return nil
		}
		// A sector that cannot be read is damage, not a failure.
		w := window{f: s.r.file, size: end, buf: (*s.win)[:n]}
		w.fill(off)
	}
	s.winLen = int(n)
	return nil
}

// want tells the system what will be read soon.
func (s *scan) want(off, end int64) {
	if off+wantStep/2 < s.wanted {
		return
	}
	if a, ok := s.r.file.(vfs.Adviser); ok {
		from := max(off, s.wanted)
		n := min(off+wantStep, end) - from
		if n > 0 {
			a.WillNeed(from, n)
		}
		s.wanted = from + n
	}
}
