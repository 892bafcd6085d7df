package operate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// SocketName is the name of the socket in a spool's directory.
const SocketName = "socket"

// maxPath is how long the address of a socket may be, in bytes. Linux takes 107
// and macOS 103; see unix(7).
const maxPath = 100

// Socket is a socket that listens.
type Socket struct {
	listener *net.UnixListener
	path     string
	name     string
	why      error
}

// Listen makes the socket of the spool in dir, which the caller has locked, in
// place of one that was left behind. Where that path has more than 100 bytes, or
// the file system takes no socket, it is made in a directory of the user's for
// such things instead: kustospool below $XDG_RUNTIME_DIR, or below the user's cache
// directory, or kustospool-UID below the directory for temporary files, each 0700. The error
// says what was wrong with every place.
func Listen(dir string) (*Socket, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s, first := listen(filepath.Join(dir, SocketName))
	if first == nil {
		s.name = SocketName
		return s, nil
	}
	sum := sha256.Sum256([]byte(dir))
	errs := []error{first}
	for _, place := range places() {
		err := private(place)
		if err == nil {
			s, err = listen(filepath.Join(place, hex.EncodeToString(sum[:8])+".sock"))
		}
		if err == nil {
			s.name, s.why = s.path, first
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Path is where the socket is.
func (s *Socket) Path() string { return s.path }

// Name is how the socket is found from the spool's directory: SocketName, or
// its path where it is elsewhere.
func (s *Socket) Name() string { return s.name }

// Elsewhere says why the socket is not in the spool's directory; nil where it is.
func (s *Socket) Elsewhere() error { return s.why }

// Close ends the socket and removes it. A Server does it.
func (s *Socket) Close() error {
	err := s.listener.Close()
	if rerr := os.Remove(s.path); err == nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = rerr
	}
	return err
}

func listen(path string) (*Socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of a socket must have at most %d bytes: %s has %d", maxPath, path, len(path))
	}
	// Nobody has it: the caller holds the lock of the spool.
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().IsRegular() || info.IsDir() || info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s is there and is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(path))
	}
	return &Socket{listener: l, path: path}, nil
}

// places are where sockets go that have no room beside their spool.
func places() (out []string) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		out = append(out, filepath.Join(dir, "kustospool"))
	}
	if dir, err := os.UserCacheDir(); err == nil && filepath.IsAbs(dir) {
		out = append(out, filepath.Join(dir, "kustospool"))
	}
	return append(out, filepath.Join(os.TempDir(), fmt.Sprintf("kustospool-%d", os.Getuid())))
}

// private makes a directory that is this user's alone, or makes sure that it is.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	return owned(dir, info)
}
