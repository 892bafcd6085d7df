package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/ingest"
	"kustospool/ingest/content"
	"kustospool/transport/admin"
)

// properties are those of all inputs but for the format.
func (s *sendSettings) properties() (ingest.Properties, error) {
	if s.mapping != "" && s.mappingReference != "" && !s.createMapping {
		return ingest.Properties{}, usagef("--mapping and --mapping-reference exclude each other, but for --create-mapping")
	}
	p := ingest.Properties{
		Database:         s.database,
		Table:            s.table,
		MappingReference: s.mappingReference,
		Tags:             s.tags,
	}
	var err error
	if p.Mapping, err = s.mappingText(); err != nil {
		return ingest.Properties{}, err
	}
	if s.createMapping {
		p.Mapping = "" // it is named
	}
	if s.creationTime != "" {
		at, err := time.Parse(time.RFC3339, s.creationTime)
		if err != nil {
			at, err = time.Parse(time.DateOnly, s.creationTime)
		}
		if err != nil {
			return ingest.Properties{}, usagef("--creation-time %q: must be like 2026-11-03T04:05:06Z or 2026-11-03", s.creationTime)
		}
		p.CreationTime = at
	}
	return p, nil
}

// mappingText is the mapping of --mapping, out of its file if it names one.
func (s *sendSettings) mappingText() (string, error) {
	path, ok := strings.CutPrefix(s.mapping, "@")
	if !ok {
		return s.mapping, nil
	}
	text, err := readMapping(path)
	if err != nil {
		return "", usagef("--mapping: %w", err)
	}
	return text, nil
}

// readMapping reads a mapping file; one byte more than the largest limit, that
// of a mapping to be created, is enough for the check of its size to notice.
func readMapping(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, admin.MaxMappingBytes+1))
	switch kind := content.Of(text[:min(len(text), content.HeadBytes)]); {
	case err != nil:
	case kind != content.Unknown:
		err = fmt.Errorf("%s: is %s; a mapping is JSON in UTF-8", path, kind)
	}
	return strings.TrimPrefix(string(text), "\ufeff"), err
}

// validate checks the properties with each of the formats.
func validate(p ingest.Properties, sources []input.Source) error {
	seen := make(map[ingest.Format]bool)
	for _, src := range sources {
		if seen[src.Format] {
			continue
		}
		seen[src.Format] = true
		p.Format = src.Format
		if err := p.Validate(); err != nil {
			return usageError{err}
		}
	}
	return nil
}
