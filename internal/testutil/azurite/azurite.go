package azurite

import (
	"bufio"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/internal/testutil/npm"
)

// Azurite is a running emulator. It is safe for use by many goroutines.
type Azurite struct {
	// BlobURL, QueueURL and TableURL are the services of the account, path
	// style, without a slash at the end: http://127.0.0.1:PORT/ACCOUNT.
	BlobURL, QueueURL, TableURL string
	// Account is the storage account's name, Key its shared key in base64.
	Account, Key string

	// held for the life of the process: closing stdin ends the emulator
	process *exec.Cmd
	stdin   *os.File
}

const account = "devstoreaccount1"

// startTimeout bounds the wait for the three services; half a second is usual.
const startTimeout = 60 * time.Second

var shared struct {
	once sync.Once
	az   *Azurite
	err  error
}

// Start returns the test binary's emulator and starts it if need be. Make
// fresh containers, queues and tables in each test: [Azurite.Container],
// [Azurite.Queue], [Azurite.Table].
func Start(t testing.TB) *Azurite {
	t.Helper()
	shared.once.Do(func() { shared.az, shared.err = start() })
	var missing *npm.MissingError
	switch {
	case shared.err == nil:
		return shared.az
	case errors.As(shared.err, &missing) && !npm.Required("REQUIRE_AZURITE"):
		t.Skipf("no Azurite: %v", shared.err)
	default:
		t.Fatalf("Azurite: %v", shared.err)
	}
	return nil
}

//go:embed npm
var files embed.FS

// install returns the directory of the emulator. The lock file replaces its
// telemetry and its SQL driver by empty modules.
func install() (string, error) {
	root, err := fs.Sub(files, "npm")
	if err != nil {
		return "", err
	}
	p := npm.Package{Name: "azurite", Files: root, CacheEnv: "AZURITE_CACHE", Stubs: []string{"applicationinsights", "tedious"}}
	return p.Install()
}

func start() (*Azurite, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, &npm.MissingError{Err: err}
	}
	dir, err := install()
	if err != nil {
		return nil, err
	}
	var key [64]byte
	_, _ = rand.Read(key[:])
	az := &Azurite{Account: account, Key: base64.StdEncoding.EncodeToString(key[:])}

	// Files on both sides, so that exec starts no goroutine of its own: a test
	// binary that looks for leaked goroutines at its end must find none.
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	defer out.Close()
	az.stdin = stdin
	az.process = exec.Command(node, "shim.cjs",
		"--disableTelemetry", "--silent", "--skipApiVersionCheck",
		"--inMemoryPersistence", "--extentMemoryLimit", "512",
		"--blobHost", "127.0.0.1", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1",
		"--blobPort", "0", "--queuePort", "0", "--tablePort", "0",
		"--blobKeepAliveTimeout", "120", "--queueKeepAliveTimeout", "120", "--tableKeepAliveTimeout", "120")
	az.process.Dir = dir
	az.process.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+az.Account+":"+az.Key)
	az.process.Stdin, az.process.Stdout, az.process.Stderr = in, stdout, stdout
	err = az.process.Start()
	_ = stdout.Close()
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	// Where the platform has no deadline for pipes the test's own must do.
	_ = out.SetReadDeadline(time.Now().Add(startTimeout))
	if err := az.awaitPorts(out); err != nil {
		_ = stdin.Close()
		_ = az.process.Process.Kill()
		_ = az.process.Wait()
		return nil, err
	}
	return az, nil
}

var listening = regexp.MustCompile(`Azurite (Blob|Queue|Table) service is successfully listening at (http://127\.0\.0\.1:[0-9]+)`)

// awaitPorts reads the emulator's first words until it has told all ports.
func (az *Azurite) awaitPorts(out io.Reader) error {
	var said strings.Builder
	lines := bufio.NewScanner(io.LimitReader(out, 1<<20))
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		m := listening.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		url := m[2] + "/" + az.Account
		switch m[1] {
		case "Blob":
			az.BlobURL = url
		case "Queue":
			az.QueueURL = url
		case "Table":
			az.TableURL = url
		}
		if az.BlobURL != "" && az.QueueURL != "" && az.TableURL != "" {
			return nil
		}
	}
	err := lines.Err()
	if err == nil {
		err = errors.New("it ended")
	}
	return fmt.Errorf("the services do not listen: %w\n%s", err, said.String())
}
