package kustosim

import "time"

// batching is when an aggregation of untagged blobs is sealed.
type batching struct {
	time  time.Duration
	items int
	bytes int64
}

// setBatching sets a table's policy; false means that there is no such table.
func (c *catalog) setBatching(db, name string, b *batching) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return false
	}
	t.batching = b
	return true
}

// batchingOf is a table's policy; ok is false where it has none of its own.
func (c *catalog) batchingOf(db, name string) (b batching, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.mu.databases[db][name]; t != nil && t.batching != nil {
		return *t.batching, true
	}
	return batching{}, false
}

// setStreaming turns the streaming policy of a table on or off; false means
// that there is no such table.
func (c *catalog) setStreaming(db, name string, on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return false
	}
	t.streaming = on
	return true
}

// streams reports whether the table exists and takes streaming ingestion.
func (c *catalog) streams(db, name string) (exists, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	return t != nil, t != nil && t.streaming
}
