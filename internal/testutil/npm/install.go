package npm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Package is a set of pinned npm packages.
type Package struct {
	// Name is of the cache's directory: kustospool-NAME.
	Name string
	// Files holds package.json, package-lock.json and whatever else is to lie
	// beside them, at its root.
	Files fs.FS
	// CacheEnv is the environment variable that may name the cache.
	CacheEnv string
	// Stubs are packages below stubs/ that the lock file puts in the place of
	// others of the same name.
	Stubs []string
}

// installTimeout bounds npm ci; ten seconds are usual.
const installTimeout = 5 * time.Minute

// MissingError says what of the machine keeps packages from being installed.
type MissingError struct{ Err error }

// Error is the cause's.
func (e *MissingError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *MissingError) Unwrap() error { return e.Err }

// Required reports whether the environment forbids to skip: CI, or one of the
// named variables, is set to something but 0 and false.
func Required(env ...string) bool {
	for _, name := range append([]string{"CI"}, env...) {
		if v := os.Getenv(name); v != "" && v != "0" && v != "false" {
			return true
		}
	}
	return false
}

// Install returns the directory of the installation, and makes it if it is not
// there. Its errors are [*MissingError], or of the file system.
func (p *Package) Install() (string, error) {
	hash, err := p.hash()
	if err != nil {
		return "", err
	}
	cache, fallback, err := p.cacheDir()
	if err != nil {
		return "", &MissingError{err}
	}
	dir := filepath.Join(cache, hash)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lock(filepath.Join(cache, hash+".lock"))
	if err != nil {
		return "", fmt.Errorf("lock the installation: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process was first
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", &MissingError{err}
	}
	temp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := os.CopyFS(temp, p.Files); err != nil {
		return "", err
	}
	if err := npmInstall(npm, temp, cache, fallback); err != nil {
		return "", &MissingError{err}
	}
	if err := p.plantStubs(temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil {
		// Without a lock another process may have been first.
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", err
		}
	}
	return dir, nil
}

// npmInstall runs npm ci. No package's script runs: none is needed.
func npmInstall(npm, dir, cache string, ownCache bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if ownCache {
		cmd.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(cache, "npm"))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		tail := out.Bytes()
		return fmt.Errorf("npm ci: %w\n%s", err, tail[max(0, len(tail)-4<<10):])
	}
	return nil
}

// plantStubs puts real directories where npm made links: the links of some
// platforms are absolute and would not survive the rename.
func (p *Package) plantStubs(dir string) error {
	for _, name := range p.Stubs {
		at := filepath.Join(dir, "node_modules", name)
		if err := os.RemoveAll(at); err != nil {
			return err
		}
		stub, err := fs.Sub(p.Files, "stubs/"+name)
		if err != nil {
			return err
		}
		if err := os.CopyFS(at, stub); err != nil {
			return err
		}
	}
	return nil
}

// hash is over the names and bytes of all files.
func (p *Package) hash() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(p.Files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(p.Files, path)
		fmt.Fprintf(h, "%s %d\n", path, len(data))
		h.Write(data)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:12]), err
}

// cacheDir is where installations live. fallback says that the user has no
// usable cache directory, and that npm would find none either.
func (p *Package) cacheDir() (dir string, fallback bool, err error) {
	if dir := os.Getenv(p.CacheEnv); dir != "" {
		return dir, false, os.MkdirAll(dir, 0o700)
	}
	base, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(base, "kustospool-"+p.Name)
		if err = usable(dir); err == nil {
			return dir, false, nil
		}
	}
	dir = filepath.Join(os.TempDir(), fmt.Sprintf("kustospool-%s-%d", p.Name, os.Getuid()))
	tempErr := usable(dir)
	if tempErr == nil {
		tempErr = own(dir) // what is in it is run, and anybody can make the name
	}
	if tempErr != nil {
		return "", true, errors.Join(err, tempErr)
	}
	return dir, true, nil
}

// usable makes a directory and checks that files can be made in it.
func usable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
