package azurite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// pinned is what is installed: the package list, its lock, the stubs and the
// shim. Its hash names the installation.
//
//go:embed npm
var pinned embed.FS

// installTimeout bounds npm ci; ten seconds are usual.
const installTimeout = 5 * time.Minute

// stubs are the packages that the lock file replaces by empty modules.
var stubs = []string{"applicationinsights", "tedious"}

// install returns the directory of the installation, and makes it if it is
// not there. Processes that come at the same time wait for one another.
func install() (string, error) {
	hash, err := pinnedHash()
	if err != nil {
		return "", err
	}
	cache, fallback, err := cacheDir()
	if err != nil {
		return "", &missingError{err}
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
		return "", &missingError{err}
	}
	temp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	root, err := fs.Sub(pinned, "npm")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(temp, root); err != nil {
		return "", err
	}
	if err := npmInstall(npm, temp, cache, fallback); err != nil {
		return "", &missingError{err}
	}
	if err := plantStubs(temp, root); err != nil {
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
func plantStubs(dir string, root fs.FS) error {
	for _, name := range stubs {
		at := filepath.Join(dir, "node_modules", name)
		if err := os.RemoveAll(at); err != nil {
			return err
		}
		stub, err := fs.Sub(root, "stubs/"+name)
		if err != nil {
			return err
		}
		if err := os.CopyFS(at, stub); err != nil {
			return err
		}
	}
	return nil
}

// pinnedHash is over the names and bytes of everything embedded.
func pinnedHash() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(pinned, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := pinned.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n", path, len(data))
		h.Write(data)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:12]), err
}

// cacheDir is where installations live. fallback says that the user has no
// usable cache directory, and that npm would find none either.
func cacheDir() (dir string, fallback bool, err error) {
	if dir := os.Getenv("AZURITE_CACHE"); dir != "" {
		return dir, false, os.MkdirAll(dir, 0o700)
	}
	base, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(base, "kustospool-azurite")
		if err = usable(dir); err == nil {
			return dir, false, nil
		}
	}
	dir = filepath.Join(os.TempDir(), fmt.Sprintf("kustospool-azurite-%d", os.Getuid()))
	if tempErr := usable(dir); tempErr != nil {
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
