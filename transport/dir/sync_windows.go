package dir

// syncDir does nothing: Windows has no sync of a directory, and NTFS journals
// the rename.
func syncDir(string) error { return nil }
