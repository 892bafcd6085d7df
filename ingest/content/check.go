package content

import (
	"bytes"
	"path"
	"strings"

	"kustospool/ingest"
)

// Mismatch says that a source is not what it is taken for.
type Mismatch struct {
	Format ingest.Format // what it is taken for
	Kind   Kind          // what it is; Unknown where only NoLog is known
	NoLog  bool          // it has no directive, which every W3C log begins with
	// Fits is the format that would take it; empty where none would.
	Fits ingest.Format
}

// Error says what it is, and what to do.
func (m *Mismatch) Error() string {
	if advice := m.Advice(); advice != "" {
		return m.What() + "; " + advice
	}
	if m.Fits != "" {
		return m.What() + "; the format " + string(m.Fits) + " would take it"
	}
	return m.What()
}

// What is the first half of the error: what the source is, and is not.
func (m *Mismatch) What() string {
	if m.NoLog {
		return "is no W3C log: it does not begin with a # directive"
	}
	return "is " + string(m.Kind) + ", and not " + string(m.Format)
}

// Advice is what to do before any format takes it; empty where a format does.
func (m *Mismatch) Advice() string {
	switch m.Kind {
	case Gzip:
		return "give it a name that ends in .gz, or unpack it first: gzip -d"
	case Zip:
		return "give it a name that ends in .zip, or unpack it first"
	case Tar:
		return "unpack it first: tar -x"
	case Zstd:
		return "unpack it first: zstd -d"
	case XZ:
		return "unpack it first: xz -d"
	case Bzip2:
		return "unpack it first: bzip2 -d"
	case SevenZip:
		return "unpack it first"
	case UTF16:
		return "text must be UTF-8; convert it first: iconv -f UTF-16 -t UTF-8"
	case UTF32:
		return "text must be UTF-8; convert it first: iconv -f UTF-32 -t UTF-8"
	}
	return ""
}

// Check says why a source that begins with head, its first [HeadBytes] bytes
// or all of it, cannot be of format f; nil where it can. Formats raw and
// sstream take anything.
func Check(head []byte, f ingest.Format) *Mismatch {
	kind := Of(head)
	switch f {
	case ingest.Raw, ingest.SStream:
		return nil
	case ingest.Parquet, ingest.Avro, ingest.ApacheAvro, ingest.ORC:
		if kind == Unknown || kind == Binary || kind == UTF16 || kind == UTF32 || kind == binary[f] {
			return nil // the service looks closer
		}
	default:
		if kind == Unknown {
			if f == ingest.W3CLogFile {
				return checkLog(head)
			}
			return nil
		}
	}
	return &Mismatch{Format: f, Kind: kind, Fits: fits[kind]}
}

var (
	binary = map[ingest.Format]Kind{ingest.Parquet: Parquet, ingest.Avro: Avro, ingest.ApacheAvro: Avro, ingest.ORC: ORC}
	fits   = map[Kind]ingest.Format{Parquet: ingest.Parquet, Avro: ingest.Avro, ORC: ingest.ORC}
)

func checkLog(head []byte) *Mismatch {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), "\r\n")
	if len(text) == 0 || text[0] == '#' {
		return nil
	}
	m := &Mismatch{Format: ingest.W3CLogFile, NoLog: true, Fits: ingest.TXT}
	if text = bytes.TrimLeft(text, " \t"); len(text) > 0 && text[0] == '{' {
		m.Fits = ingest.JSON
	}
	return m
}

// PassedOver says why a member of an archive is none of its data, by its name
// in the archive: a directory, the resource fork that macOS adds, a file whose
// name begins with a dot. It is empty for data.
func PassedOver(name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	if strings.HasSuffix(name, "/") {
		return "directory"
	}
	base := path.Base(name)
	switch {
	case strings.HasPrefix(name, "__MACOSX/"), strings.Contains(name, "/__MACOSX/"), strings.HasPrefix(base, "._"):
		return "resource fork"
	case strings.HasPrefix(base, "."):
		return "dot file"
	}
	return ""
}
