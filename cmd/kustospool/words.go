package main

import (
	"strings"

	"kustospool/ingest"
)

// flagOf names the flag that sets what the library calls by a field's name.
var flagOf = map[string]string{
	"database":               "--database",
	"table":                  "--table",
	"format":                 "--format",
	"mapping":                "--mapping",
	"mapping reference":      "--mapping-reference",
	"tags":                   "--tag",
	"creationTime":           "--creation-time",
	"properties":             "--mapping and --tag",
	"guarantee":              "--guarantee",
	"confirm":                "--confirm",
	"max bytes":              "--batch-bytes",
	"max records":            "--batch-records",
	"max age":                "--batch-age",
	"Options.Senders":        "--senders",
	"Options.Guarantee":      "--guarantee",
	"Options.Confirm":        "--confirm",
	"Options.OnBadRecord":    "--on-bad-record",
	"store.Options.MaxBytes": "--max-disk",
	"Options.MaxDiskBytes":   "--max-disk",
	"Options.Hosts":          "--host",
	"BytesPerSecond":         "--budget-second",
	"BytesPerDay":            "--budget-day",
	"BytesPerMonth":          "--budget-month",
	"window":                 "--window",
	"class":                  "--class",
}

// inFlags is an error's text in the words of the flags: whoever runs the
// command has never seen a field of the library.
func inFlags(err error) string {
	text := string(errorText(err))
	eachField(err, func(e *ingest.FieldError) {
		if flag, ok := flagOf[e.Field]; ok {
			said := *e
			said.Field = flag
			said.Rule = strings.ReplaceAll(said.Rule, "with mapping reference", "with --mapping-reference")
			text = strings.Replace(text, e.Error(), said.Error(), 1)
		}
	})
	text = strings.ReplaceAll(text, "set TrustDirectory", "give --trust-directory")
	return strings.ReplaceAll(text, "(MaxDiskBytes)", "(--max-disk)")
}

// eachField visits the field errors that err is made of.
func eachField(err error, visit func(*ingest.FieldError)) {
	if e, ok := err.(*ingest.FieldError); ok {
		visit(e)
		return
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			eachField(inner, visit)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			eachField(inner, visit)
		}
	}
}
