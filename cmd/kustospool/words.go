package main

import (
	"fmt"
	"strings"

	"kustospool/ingest"
)

// flagWords say by which flag a field of the library is given.
var flagWords = map[string]string{
	"database":               "--database",
	"table":                  "--table",
	"format":                 "--format",
	"mapping":                "--mapping",
	"mapping reference":      "--mapping-reference",
	"tags":                   "--tag",
	"creationTime":           "--creation-time",
	"guarantee":              "--guarantee",
	"confirm":                "--confirm",
	"max bytes":              "--batch-bytes",
	"max records":            "--batch-records",
	"max age":                "--batch-age",
	"Options.Senders":        "--senders",
	"Options.MaxDiskBytes":   "--max-disk",
	"store.Options.MaxBytes": "--max-disk",
}

// worded is an error in other words.
type worded struct {
	text string
	err  error
}

func (e *worded) Error() string { return e.text }
func (e *worded) Unwrap() error { return e.err }

// inFlagWords is err with every field of the library that it names called by
// its flag. It still matches what err matches.
func inFlagWords(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, f := range fieldErrors(err, nil) {
		text = strings.Replace(text, f.Error(), inFlag(f), 1)
	}
	if text == err.Error() {
		return err
	}
	return &worded{text, err}
}

// inFlag is the text of one broken rule.
func inFlag(f *ingest.FieldError) string {
	g := *f
	if flag, ok := flagWords[f.Field]; ok {
		g.Field = flag
	}
	g.Rule = strings.NewReplacer("MaxDiskBytes", "--max-disk", "mapping reference", "--mapping-reference").Replace(g.Rule)
	return g.Error()
}

// fieldErrors are all that err wraps and joins.
func fieldErrors(err error, found []*ingest.FieldError) []*ingest.FieldError {
	switch e := err.(type) {
	case *ingest.FieldError:
		return append(found, e)
	case *worded:
		return found // in the right words already
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			return fieldErrors(next, found)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			found = fieldErrors(next, found)
		}
	}
	return found
}

// count is n things in words.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
