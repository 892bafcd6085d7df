package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
)

// TestOperationsCommands runs each command of docs/operations.md on a spool that
// has a bit of everything. What the page writes in capitals stands for it.
func TestOperationsCommands(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for i, block := range strings.Split(string(page), "```sh\n") {
		if block, _, closed := strings.Cut(block, "```"); i > 0 && closed {
			lines = append(lines, shellLines(t, block)...)
		}
	}
	ran := map[string]bool{}
	for _, words := range lines {
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			s := makeSample(t)
			t.Chdir(t.TempDir())
			for _, name := range []string{"mended.json", "FILE"} {
				if err := os.WriteFile(name, []byte("{\"n\":3}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			means := strings.NewReplacer("TARGET", "sim:", "DB.TABLE", "Demo.Readings", "TABLE", "Readings", "DIR", s.dir,
				"RECEIPT", ingest.NewID(s.id, s.lane, 1).String(), "http://127.0.0.1:8080", "sim:", "127.0.0.1:8080", "127.0.0.1:0")
			args := make([]string, len(words))
			for i, word := range words {
				args[i] = means.Replace(word)
				if word == "DB" {
					args[i] = "Demo"
				}
			}
			if args[0] == "send" && strings.HasSuffix(args[len(args)-1], "FILE") {
				args = append(args, "--format", "json")
			}
			if args[0] == "dead" && args[1] == "retry" && slices.Contains(args, "repaired") {
				kustospool(t, "", "dead", "export", "--all", "--out", "repaired", "--spool", s.dir)
			}
			ctx := t.Context()
			if args[0] == "serve" {
				args = append(args, "--listen", "127.0.0.1:0") // what is said last counts
			}
			if args[0] == "sim" || args[0] == "serve" {
				// It runs until it is interrupted, which it is at once.
				ended, cancel := context.WithCancel(ctx)
				cancel()
				ctx = ended
			}
			got := kustospoolUntil(t, ctx, "", args...)
			if got.code != exitOK || got.out == "" {
				t.Errorf("%q: %+v", args, got)
			}
			ran[args[0]] = true
		})
	}
	// What stands within a sentence is named, and perhaps not whole: there are such
	// a command and such flags.
	for _, span := range regexp.MustCompile("`kustospool ([^`]+)`").FindAllStringSubmatch(string(page), -1) {
		words := shellWords(t, span[1])
		cmd := find(words[0])
		if cmd == nil {
			t.Errorf("there is no command: kustospool %s", span[1])
			continue
		}
		fs, _ := flagSet(cmd)
		if last := fs.Lookup(strings.TrimPrefix(words[len(words)-1], "--")); last != nil && last.NoOptDefVal == "" {
			words = append(words, "x") // what is left out
		}
		if err := fs.Parse(words[1:]); err != nil {
			t.Errorf("kustospool %s: %v", span[1], err)
		}
	}
	for _, name := range []string{"send", "status", "peek", "history", "check", "dead", "version", "completion", "help", "sim", "serve"} {
		if !ran[name] {
			t.Errorf("the page has no command %s, or this test does not see it", name)
		}
	}
}
