package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// ErrInvalid is matched, through [errors.Is], by every error that says that
// the caller's input broke a rule. Nothing was stored when it is returned.
var ErrInvalid = errors.New("invalid input")

// FieldError says which field of the caller's input broke which rule.
type FieldError struct {
	Field string // the field's name as the API spells it
	Value string // the offending value, printable and cut to a bounded length
	Rule  string // what the value must be
}

// Error names field, value and rule.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Rule)
	}
	return fmt.Sprintf("%s %s: %s", e.Field, e.Value, e.Rule)
}

// Is makes every FieldError match [ErrInvalid].
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// maxQuoted bounds how much of a bad value an error repeats.
const maxQuoted = 64

// quote renders a caller's value for an error: printable whatever its bytes
// are, and bounded.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(s[:cut]), len(s))
}
