package ingest_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kustospool/ingest"
)

// legal are names that the service documents as possible, in any script.
var legal = []string{"T", "_", "Fleet", "my table", "a-b", "a.b", ".hidden", "v1..2", "2026", "x_y z-1.0", "Tëlemetry", "船舶", "जहाज़", "судно-1", strings.Repeat("n", ingest.MaxNameBytes)}

// illegal are names that a URL path, a command, a terminal or a file system
// would take for something else, and others that the service does not take.
var illegal = []string{"", ".", "..", "...", "a/b", "/", "../x", `a\b`, `..\x`, "a%2fb", "%2e%2e", "a?b", "a#b", "a;b", "a:b", "a*b", "a'b", `a"b`, "a`b", "a[b", "a]b",
	"a{b", "a<b", "a>b", "a|b", "a&b", "a=b", "a,b", "a(b)", "a@b", "a~b", "a\nb", "a\x00b", "a\x1bb", "a\x7fb", "a\u0085b", "a\u2028b", "a\u202eb", "a\u200bb", "a\ufeffb", "a\u2066b",
	"a\u00a0b", "a\u3000b", "a\u2024b", "\uff0e\uff0e", "a\uff0fb", " a", "a ", "a\xffb", "a\ufffdb", strings.Repeat("n", ingest.MaxNameBytes+1)}

func TestNames(t *testing.T) {
	for _, name := range legal {
		p := ingest.Properties{Database: name, Table: name, Format: ingest.CSV}
		if err := p.Validate(); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range illegal {
		for field, p := range map[string]ingest.Properties{"database": {Database: name, Table: "T", Format: ingest.CSV}, "table": {Database: "D", Table: name, Format: ingest.CSV}} {
			err := p.Validate()
			var fe *ingest.FieldError
			if !errors.As(err, &fe) || fe.Field != field {
				t.Errorf("the %s %.40q is taken: %v", field, name, err)
			}
		}
	}
}

// A mapping's name is a text in quotes and no entity's, so more is possible.
func TestMappingNames(t *testing.T) {
	for _, name := range []string{"M", "my mapping/2 (new): a&b", "d'Or"} {
		p := ingest.Properties{Database: "D", Table: "T", Format: ingest.CSV, MappingReference: name}
		if err := p.Validate(); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range []string{".", "..", "a\nb", "a\u202eb", "a\u2028b", " a", "a\xffb"} {
		p := ingest.Properties{Database: "D", Table: "T", Format: ingest.CSV, MappingReference: name}
		if err := p.Validate(); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%q is taken: %v", name, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range append(legal, illegal...) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := ingest.Properties{Database: name, Table: name, Format: ingest.CSV}
		if p.Validate() != nil {
			return
		}
		if strings.Trim(name, ".") == "" || !utf8.ValidString(name) || len(name) > ingest.MaxNameBytes {
			t.Errorf("%q is taken", name)
		}
		for _, r := range name {
			if !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune("_ .-", r) {
				t.Errorf("%q is taken, with %q", name, r)
			}
		}
	})
}
