package transport

import (
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"unicode/utf8"
)

// Guard makes one call into code that belongs to somebody else and comes back
// whatever that does. Its error is what call returned, or a [*PanicError] when
// call panicked or ended its goroutine (runtime.Goexit). call runs in a
// goroutine of its own, because the end of a goroutine cannot be undone, and
// Guard waits for it: a call that never returns is not cured.
//
// Nobody can guard the goroutines that a plug starts by itself: a panic there
// ends the process. A transport that calls a plug from a goroutine of its own
// makes that call through Guard.
//
// what names the call in the error: "Transport.Send".
func Guard(what string, call func() error) error {
	done := make(chan error, 1)
	go func() {
		err := error(&PanicError{Call: what, Words: "its goroutine was ended (runtime.Goexit)"})
		defer func() { done <- err }()
		err = Recover(what, call)
	}()
	return <-done
}

// Recover is Guard in the caller's own goroutine: of what Guard survives it
// survives panics only. It is for plugs that are called very often.
func Recover(what string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Call: what, Words: panicWords(p), Stack: cut(string(debug.Stack()), maxStack)}
		}
	}()
	return call()
}

// PanicError is a call into a plug that did not return.
type PanicError struct {
	Call  string
	Words string // the panic's, bounded, without signatures of URLs
	Stack string // where it happened, for a log; may be empty
}

// Error is the call and the words. The stack is not in it.
func (e *PanicError) Error() string { return e.Call + " panicked: " + e.Words }

const (
	maxWords = 1 << 10
	maxStack = 8 << 10
)

// panicWords is the text of a panic's value. fmt survives a value whose own
// text panics.
func panicWords(p any) string { return shown(WithoutSecrets(fmt.Sprint(p)), maxWords) }

// signature is the secret part of a SAS, which panics with a URL in them would
// tell, and of a bearer token.
var signature = regexp.MustCompile(`(?i)(sig=|bearer )[^&\s"';]+`)

// WithoutSecrets is a text without the signatures of URLs and the bearer tokens that
// are in it, as far as they look like such. It is the last net, behind whoever knows
// its secrets.
func WithoutSecrets(s string) string { return signature.ReplaceAllString(s, "${1}REDACTED") }

// cut is s as valid text of at most so many bytes.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "..."
}
