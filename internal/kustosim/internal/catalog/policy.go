package catalog

import "time"

// Batching is when an aggregation of untagged blobs is sealed.
type Batching struct {
	Time  time.Duration
	Items int
	Bytes int64
}

// SetBatching sets a table's policy; false means that there is no such table.
func (c *Catalog) SetBatching(db, name string, b *Batching) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return false
	}
	t.batching = b
	return true
}

// BatchingOf is a table's policy; ok is false where it has none of its own.
func (c *Catalog) BatchingOf(db, name string) (b Batching, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.mu.databases[db][name]; t != nil && t.batching != nil {
		return *t.batching, true
	}
	return Batching{}, false
}

// SetStreaming turns the streaming policy of a table on or off; false means
// that there is no such table.
func (c *Catalog) SetStreaming(db, name string, on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return false
	}
	t.streaming = on
	return true
}

// Streams reports whether the table exists and takes streaming ingestion.
func (c *Catalog) Streams(db, name string) (exists, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	return t != nil, t != nil && t.streaming
}
