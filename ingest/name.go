package ingest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName checks the name of a database or table. field is what the error
// calls it. The error is a [FieldError].
//
// The rule is the service's for identifiers (its page "Entity names"): letters
// and digits of any script, "_", and inside of a name also points, dashes and
// spaces. What a URL's path, a command or a file system takes for something
// else is thereby no part of a name. Points alone are refused as well: "." and
// ".." are steps in a path, escaped or not, and whoever stands before the
// service may take them before it does.
func CheckName(field, name string) error {
	rule := textRule(name)
	if rule == "" && strings.ContainsFunc(name, foreignInName) {
		rule = `must consist of letters, digits, "_", "-", "." and spaces`
	}
	return nameError(field, name, rule)
}

// CheckQuotedName checks the name of a column or an ingestion mapping. Such a
// name is never part of a path: it stands in quotes, in a command or a message.
// What cannot be seen, and points alone, are refused; of the rest the service
// is the judge. The error is a [FieldError].
func CheckQuotedName(field, name string) error {
	rule := textRule(name)
	if rule == "" && strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		rule = "must not hold control characters, and no others that cannot be seen"
	}
	return nameError(field, name, rule)
}

// textRule says which rule of all names is broken.
func textRule(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case !utf8.ValidString(name):
		return "must be valid UTF-8"
	case len(name) > MaxNameBytes:
		return fmt.Sprintf("must have at most %d bytes", MaxNameBytes)
	case strings.TrimSpace(name) != name:
		return "must not begin or end with white space"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "must not hold control characters"
	case strings.Trim(name, ".") == "":
		return "must not consist of points: in the path of a URL they lead elsewhere"
	}
	return ""
}

// foreignInName: combining marks are parts of letters in many scripts.
func foreignInName(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && r != '_' && r != '-' && r != '.' && r != ' '
}

func nameError(field, name, rule string) error {
	if rule == "" {
		return nil
	}
	return &FieldError{Field: field, Value: quote(name), Rule: rule}
}
