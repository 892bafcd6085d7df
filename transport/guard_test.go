package transport

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What Guard survives, Recover survives as well, but for the end of its
// goroutine: that is the control, which shows that the end is a real one.
func TestGuard(t *testing.T) {
	own := errors.New("its own")
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"nothing", func() error { return nil }, ""},
		{"an error", func() error { return own }, "its own"},
		{"panic", func() error { panic("boom") }, "X panicked: boom"},
		{"panic with a secret", func() error { panic("GET https://h/c?sv=1&sig=ab%2Fc&x=1 with Bearer abc.def") }, "X panicked: GET https://h/c?sv=1&sig=REDACTED&x=1 with Bearer REDACTED"},
		{"panic with nil", func() error { panic(nil) }, "X panicked: panic called with nil argument"},
		{"panic while unwinding", func() error { defer func() { panic("second") }(); panic("first") }, "X panicked: second"},
		{"exit while unwinding", func() error { defer runtime.Goexit(); panic("first") }, "X panicked: its goroutine was ended (runtime.Goexit)"},
		{"exit", func() error { runtime.Goexit(); return nil }, "X panicked: its goroutine was ended (runtime.Goexit)"},
		{"a text that exits", func() error { panic(exits{}) }, "X panicked: its goroutine was ended (runtime.Goexit)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Guard("X", tt.call)
			if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
				t.Errorf("%s, want %q", got, tt.want)
			}
			bad, ok := errors.AsType[*PanicError](err)
			if ok != strings.HasPrefix(tt.want, "X panicked") {
				t.Errorf("a PanicError: %v", ok)
			}
			if ok && !strings.Contains(tt.want, "Goexit") && !strings.Contains(bad.Stack, "guard_test.go") {
				t.Errorf("the stack does not name the place: %s", bad.Stack)
			}
			ended := make(chan bool)
			go func() {
				survived := false
				defer func() { ended <- !survived }()
				_ = Recover("X", tt.call) // its error is as Guard's
				survived = true
			}()
			if got := <-ended; got != strings.Contains(tt.want, "Goexit") {
				t.Errorf("Recover's goroutine ended: %v", got)
			}
		})
	}
}

type exits struct{}

func (exits) Error() string { runtime.Goexit(); return "" }

func TestCut(t *testing.T) {
	for _, s := range []string{"", "abc", "abcd", "äöü", "日本語", "\xff\xfe\xfd", strings.Repeat("é", 100)} {
		for most := range 10 {
			got := cut(s, most)
			if !utf8.ValidString(got) || len(got) > most+len("...") {
				t.Errorf("cut(%q, %d) = %q", s, most, got)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	at := time.Unix(0, 0)
	var nilError *Error
	long := strings.Repeat("ä", 1<<20)
	for _, tt := range []struct {
		name      string
		err       error
		committed bool
		class     Class
		retry     time.Duration
		message   string // in the failure
	}{
		{"unclassified", errors.New("plain"), false, Transient, 0, "send: plain"},
		{"unclassified behind the commit", errors.New("plain"), true, Unknown, 0, "send: plain"},
		{"classified", fmt.Errorf("x: %w", &Error{Op: "upload", Class: Held, Message: "m"}), true, Held, 0, "upload: m"},
		{"the cause's text", &Error{Op: "upload", Class: Held, Err: errors.New("cause")}, true, Held, 0, "upload: cause"},
		{"typed nil", nilError, false, Transient, 0, "nil *transport.Error"},
		{"typed nil behind the commit", fmt.Errorf("x: %w", nilError), true, Unknown, 0, "nil *transport.Error"},
		{"no class", &Error{Op: "o", Message: "m"}, false, Transient, 0, "o: m"},
		{"no class behind the commit", &Error{Op: "o", Message: "m"}, true, Unknown, 0, "o: m"},
		{"class 200", &Error{Op: "o", Class: 200, Message: "m"}, true, Unknown, 0, "o: m"},
		{"a wish", &Error{Op: "o", Class: Throttled, Message: "m", RetryAfter: 90 * time.Second}, false, Throttled, 90 * time.Second, "o: m"},
		{"an hour's wish", &Error{Op: "o", Class: Throttled, Message: "m", RetryAfter: time.Hour}, false, Throttled, time.Hour, "is the most that is obeyed"},
		{"a wish of a year", &Error{Op: "o", Class: Throttled, Message: "m", RetryAfter: 365 * 24 * time.Hour}, false, Throttled, time.Hour, "1h0m0s is the most that is obeyed"},
		{"a wish of the past", &Error{Op: "o", Class: Throttled, Message: "m", RetryAfter: -1 << 62}, false, Throttled, 0, "o: m"},
		{"long", &Error{Op: long, Class: Throttled, Code: long, Message: long, RequestID: long}, false, Throttled, 0, "ää"},
		{"long cause", errors.New(long), false, Transient, 0, "ää"},
		{"no text", noText{}, false, Transient, 0, "the text of an error of type transport.noText panicked: none"},
		{"no cause's text", &Error{Op: "o", Class: Held, Err: noText{}}, false, Held, 0, "o: the text of an error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Classify(tt.err, tt.committed)
			f := e.Failure(at)
			if e.Class != tt.class || e.RetryAfter != tt.retry || !strings.Contains(f.Message, tt.message) {
				t.Errorf("%v after %v: %.200q", e.Class, e.RetryAfter, f.Message)
			}
			if len(f.Message)+len(f.Code) > maxMessage+4*maxName || !utf8.ValidString(f.Message) {
				t.Errorf("%d and %d bytes", len(f.Message), len(f.Code))
			}
			_ = e.Error() // needs nothing of the original any more
			if again := Classify(e, !tt.committed); again.Class != e.Class || again.RetryAfter != e.RetryAfter {
				t.Errorf("classified again it is %v", again)
			}
		})
	}
}

type noText struct{}

func (noText) Error() string { panic("none") }
