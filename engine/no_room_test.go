package engine

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoRoomIsToldOnce, however often calls find room between others that do not: it is
// over when for a minute none has found it full.
func TestNoRoomIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		n := &noRoom{trouble: trouble{log: slog.New(slog.NewTextHandler(&out, nil)), begun: "full", over: "room"}}
		n.stored()
		for episode := 1; episode <= 2; episode++ {
			for range 10 {
				n.met()
				n.stored()
				time.Sleep(59 * time.Second)
				n.stored()
			}
			if a, b := strings.Count(out.String(), "msg=full"), strings.Count(out.String(), "msg=room"); a != episode || b != episode-1 {
				t.Fatalf("begun %d times, over %d: %s", a, b, out.String())
			}
			time.Sleep(time.Second)
			n.stored()
			n.stored()
			if strings.Count(out.String(), "msg=room after=8m51s") != episode {
				t.Fatalf("it is over: %s", out.String())
			}
		}
	})
}

// What a single call met, which was held up between its two looks at the clock, did not
// last less than no time.
func TestNoRoomIsNotOverBeforeItBegan(t *testing.T) {
	var out strings.Builder
	n := &noRoom{trouble: trouble{log: slog.New(slog.NewTextHandler(&out, nil)), over: "room"}}
	last := time.Now().Add(-roomAgain)
	n.last.Store(last.UnixNano())
	n.since.Store(last.Add(3 * time.Millisecond).UnixNano())
	n.stored()
	if !strings.Contains(out.String(), "msg=room after=0s") {
		t.Error(out.String())
	}
}
