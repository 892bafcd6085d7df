package upload

import (
	"fmt"
	"strings"

	"kustospool/ingest"
)

// maxNamePart bounds the database's and the table's share of a blob name.
const maxNamePart = 64

// Name is a batch's blob name: a function of the batch alone, so that a repeat
// overwrites with the same content. Its end tells the service format and
// compression (protocol reference section 4.3); what is before the batch id is
// for people.
func Name(b *ingest.Batch) string { return blobName(b, "") }

// PartName is the name of one of several blobs of a batch, from 0 on.
func PartName(b *ingest.Batch, part int) string { return blobName(b, fmt.Sprintf("-%02d", part)) }

func blobName(b *ingest.Batch, part string) string {
	p := &b.Properties
	name := "kustospool__" + nameText(p.Database) + "__" + nameText(p.Table) + "__" + b.ID.String() + part + p.Format.Extension()
	switch {
	case p.Compressed():
		name += ".gz"
	case p.ZipPattern != "":
		name += ".zip"
	}
	return name
}

// nameText keeps of a name what needs no escape in a URL.
func nameText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, s[:min(len(s), maxNamePart)])
}
