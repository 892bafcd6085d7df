package record

import "bytes"

const multijsonHint = "use the format multijson for arrays and for documents of several lines or several in one line"

var (
	faultObject  = &Fault{Rule: "a json record must be one JSON object"}
	faultTorn    = &Fault{Rule: "a json record must be one JSON object, and this one is torn or malformed"}
	faultIsArray = &Fault{Rule: "a json record must be one JSON object, and not an array", Hint: multijsonHint}
	faultTwo     = &Fault{Rule: "a json record must be one JSON object, and more is behind it", Hint: multijsonHint}
	faultLines   = &Fault{Rule: "a json record is one line and must not hold a newline", Hint: multijsonHint}
)

// jsonFault says what a line that is not one JSON object is instead. next is
// the byte behind the line, 0 where there is none: what goes on with something
// else than a new object was not torn, but is a document of several lines.
func jsonFault(line []byte, next byte) *Fault {
	i := skipSpace(line, 0)
	if i == len(line) {
		return faultEmpty
	}
	switch line[i] {
	case '[':
		return faultIsArray
	case ']', '}':
		return faultLines // the end of a document that began lines before
	case '"':
		// A member of one: "name": value.
		if end := stringEnd(line, i+1); end >= 0 {
			if end = skipSpace(line, end); end < len(line) && line[end] == ':' {
				return faultLines
			}
		}
		return faultObject
	case '{':
	default:
		if numberEnd(line, i) < 0 && !isWord(line[i:]) {
			return faultTorn
		}
		return faultObject
	}
	if end := valueEnd(line, i, 0); end >= 0 {
		end = skipSpace(line, end)
		switch {
		case end < len(line) && line[end] == ',' && skipSpace(line, end+1) == len(line):
			return faultIsArray // an element of one
		case end < len(line) && isDocuments(line[end:]):
			return faultTwo
		}
		return faultTorn
	}
	if nl := bytes.IndexByte(line, '\n'); nl >= 0 {
		if isDocuments(line) {
			return faultLines
		}
		return faultTorn
	}
	switch next {
	case 0, '\n', '\r', '{': // behind a torn line the next record begins
		return faultTorn
	}
	if breaks(line[i:]) {
		return faultLines
	}
	return faultTorn
}

// needsNext reports whether jsonFault depends on the byte behind the line.
func needsNext(line []byte) bool {
	i := skipSpace(line, 0)
	return i < len(line) && line[i] == '{' && breaks(line[i:]) && valueEnd(line, i, 0) < 0
}

// breaks reports whether a line ends where those who indent documents end
// their lines.
func breaks(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r")
	switch line[len(line)-1] {
	case '{', '[', ',', ':':
	default:
		return false
	}
	// Not inside a string.
	for i := 0; i < len(line); {
		quote := bytes.IndexByte(line[i:], '"')
		if quote < 0 {
			return true
		}
		if i = stringEnd(line, i+quote+1); i < 0 {
			return false
		}
	}
	return true
}

func isWord(b []byte) bool {
	return bytes.HasPrefix(b, []byte("true")) || bytes.HasPrefix(b, []byte("false")) || bytes.HasPrefix(b, []byte("null"))
}

// isDocuments reports whether b is objects, and arrays of them, one after the
// other.
func isDocuments(b []byte) bool {
	for i := skipSpace(b, 0); i < len(b); i = skipSpace(b, i) {
		if b[i] != '{' && b[i] != '[' {
			return false
		}
		if i = valueEnd(b, i, 0); i < 0 {
			return false
		}
	}
	return true
}

// checkDocument is Check of Documents: one object, or one array of objects.
func checkDocument(b []byte) *Fault {
	if b[0] != '[' {
		if isObject(b) {
			return nil
		}
		if b[0] != '{' {
			return faultDocument
		}
		if end := valueEnd(b, 0, 0); end >= 0 && isDocuments(b[end:]) {
			return faultSeveral
		}
		return malformedDocument(b)
	}
	if end := valueEnd(b, 0, 0); end < 0 {
		return malformedDocument(b)
	} else if end < len(b) {
		return faultSeveral
	}
	i := skipSpace(b, 1)
	if b[i] == ']' {
		return &Fault{Rule: "an array without an element holds no record"}
	}
	for {
		if b[i] != '{' {
			return faultDocument
		}
		i = skipSpace(b, valueEnd(b, i, 0))
		if b[i] == ']' {
			return nil
		}
		i = skipSpace(b, i+1)
	}
}

// malformedDocument tells a document that has no end from one that has.
func malformedDocument(b []byte) *Fault {
	t := brackets{}
	if t.end(b) < 0 {
		return faultUnclosed
	}
	return &Fault{Rule: faultDocument.Rule + ", and this one is malformed"}
}
