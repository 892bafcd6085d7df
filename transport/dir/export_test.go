package dir

// BreakPublishedSyncForTesting makes the last step of the next Send fail.
func (c *Client) BreakPublishedSyncForTesting(err error) {
	c.syncPublished = func(path string) error {
		c.syncPublished = syncDir
		return err
	}
}
