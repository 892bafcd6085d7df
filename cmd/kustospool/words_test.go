package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Limits are told in the words of the flags, never as a field of the library,
// and nothing is stored under what can never be sent.
func TestSend_LimitsInTheWordsOfTheFlags(t *testing.T) {
	in := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(in, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for range 64 {
		tags = append(tags, "--tag", strings.Repeat("t", 1000))
	}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"senders", []string{"--senders", "999"}, "--senders 999: must be from 1 to 256"},
		{"disk", []string{"--max-disk", "1"}, "--max-disk 1: must be at least 16777216 bytes"},
		{"batch", []string{"--batch-bytes", "1"}, "--batch-bytes 1: must be"},
		{"tag", []string{"--tag", ""}, `--tag "": must be non-empty`},
		{"mapping", []string{"--mapping", "{"}, `--mapping "{": must be a JSON array`},
		{"tags that no message can hold", tags, "--mapping and --tag of "},
		{"date", []string{"--creation-time", "yesterday"}, `--creation-time "yesterday": must be like`},
		{"policy", []string{"--on-bad-record", "ignore"}, `--on-bad-record "ignore": must be stop, skip or dead-letter`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spool := filepath.Join(t.TempDir(), "s")
			got := kustospool(t, "", append([]string{"send", "--to", "sim:", "--spool", spool, "--database", "D", "--table", "T", in}, tc.args...)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || strings.Contains(got.stderr, "Options.") {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
			if _, err := os.Stat(filepath.Join(spool, "manifest.db")); err == nil {
				t.Error("a spool was made")
			}
		})
	}
}
