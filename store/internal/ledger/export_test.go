package ledger

import bolt "go.etcd.io/bbolt"

// failCommits puts something else in the place of bbolt's commit.
func (l *Ledger) failCommits(commit func(*bolt.Tx) error) { l.commit = commit }
