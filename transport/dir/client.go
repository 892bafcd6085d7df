package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// ClientOptions are the choices of a [Client]; the zero value is the default.
type ClientOptions struct {
	// Compress gzips the payloads whose properties allow it. Off by default:
	// the reader is then any tool that reads the format.
	Compress bool
}

// Client is a transport that writes batches as files. It is safe for use by
// many goroutines.
type Client struct {
	// immutable after construction
	root     string
	compress bool
	// syncPublished makes the payload's final name durable; tests break it.
	syncPublished func(dir string) error
}

var _ transport.Transport = (*Client)(nil)

// NewClient makes a transport into the directory path, which it creates if
// its parent exists, mode 0700. Options may be nil. It removes what a crash
// left half-written, see [Client.Send]. The error is that of the file system.
func NewClient(path string, options *ClientOptions) (*Client, error) {
	if path == "" {
		return nil, &ingest.FieldError{Field: "path", Rule: "must not be empty"}
	}
	if options == nil {
		options = &ClientOptions{}
	}
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("export directory: %w", err)
	}
	if err := makeDir(root); err != nil {
		return nil, fmt.Errorf("export directory: %w", err)
	}
	c := &Client{root: root, compress: options.Compress, syncPublished: syncDir}
	c.sweep(time.Now().Add(-sweepAge))
	return c, nil
}

// Capabilities: exactly-once by the file's name, and no limit of size.
func (c *Client) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

// Send writes the batch's two files and answers Succeeded when they are on
// stable storage, or Skipped when the payload was there. The half-written
// files of an attempt that a crash cut off are overwritten by the next attempt
// at the batch; those of batches that never come again are removed by a later
// NewClient, an hour old and some ten thousand at a time.
func (c *Client) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if err := ctx.Err(); err != nil {
		return transport.Ack{}, err
	}
	b := d.Batch
	if e := transport.CheckNames(b); e != nil {
		return transport.Ack{}, e
	}
	if b.Properties.ByReference {
		return transport.Ack{}, &transport.Error{Op: "write payload", Class: transport.Permanent, Code: "Reference",
			Message: "a directory takes the data itself, not the address of a blob"}
	}
	table, err := c.tableDir(b.Properties)
	if err != nil {
		return transport.Ack{}, err
	}
	base := baseName(b)
	plain := base + b.Properties.Format.Extension()
	// Both names, because Compress may have changed since an attempt before.
	for _, name := range []string{plain, plain + ".gz"} {
		there, err := exists(filepath.Join(table, name))
		if err != nil {
			return transport.Ack{}, classify("look for the payload", err, transport.Held)
		}
		if !there {
			continue
		}
		// The rename may have come just before a crash, its directory not
		// yet synced.
		if err := syncDir(table); err != nil {
			return transport.Ack{}, classify("sync directory", err, transport.Held)
		}
		return transport.Ack{State: ingest.Skipped}, nil
	}
	name := plain
	if c.compress && b.Properties.Compressed() {
		name += ".gz"
	}
	if err := writeProperties(table, base, name, b); err != nil {
		return transport.Ack{}, classify("write properties", err, transport.Held)
	}
	temp := filepath.Join(table, tempPrefix+name)
	n, err := writePayload(ctx, temp, d.Payload, name != plain)
	if err != nil {
		_ = os.Remove(temp)
		var r *readError
		if errors.As(err, &r) || ctx.Err() != nil {
			return transport.Ack{}, fmt.Errorf("write payload: %w", err)
		}
		return transport.Ack{}, classify("write payload", err, transport.Held)
	}
	if err := d.Journal.Commit(ctx, nil); err != nil {
		_ = os.Remove(temp)
		return transport.Ack{}, err
	}
	final := filepath.Join(table, name)
	if err := os.Rename(temp, final); err != nil {
		_ = os.Remove(temp)
		if there, look := exists(final); look != nil || there {
			return transport.Ack{}, unknown("rename payload", err)
		}
		return transport.Ack{}, classify("rename payload", err, transport.Held)
	}
	if err := c.syncPublished(table); err != nil {
		return transport.Ack{}, unknown("sync directory", err)
	}
	return transport.Ack{State: ingest.Succeeded, WireBytes: n}, nil
}

// tableDir makes the directory of a table. The root is not made again: where
// it is gone a medium was taken out, and its mount point must not fill up.
func (c *Client) tableDir(p ingest.Properties) (string, error) {
	if _, err := os.Stat(c.root); err != nil {
		return "", classify("open export directory", err, transport.Unauthorized)
	}
	database := filepath.Join(c.root, PathName(p.Database))
	if err := makeDir(database); err != nil {
		return "", classify("make database directory", err, transport.Unauthorized)
	}
	table := filepath.Join(database, PathName(p.Table))
	if err := makeDir(table); err != nil {
		return "", classify("make table directory", err, transport.Held)
	}
	return table, nil
}

// baseName is the batch's name without extension. It depends on nothing that
// could differ between two attempts.
func baseName(b *ingest.Batch) string {
	return fmt.Sprintf("%08x-%016x-%s", b.Lane, b.First, b.ID)
}

const (
	tempPrefix = ".making-"
	sweepAge   = time.Hour
	sweepLimit = 10_000
)

// sweep removes files in the making that are older than a moment, looking at
// sweepLimit names at most. The age spares another process that writes into
// the same root. What cannot be removed now is no loss: it costs space only.
func (c *Client) sweep(before time.Time) {
	looked := 0
	_ = filepath.WalkDir(c.root, func(path string, e fs.DirEntry, err error) error {
		if looked++; looked > sweepLimit {
			return fs.SkipAll
		}
		if err != nil {
			return fs.SkipDir
		}
		if e.IsDir() || !strings.HasPrefix(e.Name(), tempPrefix) {
			return nil
		}
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			_ = os.Remove(path)
		}
		return nil
	})
}
