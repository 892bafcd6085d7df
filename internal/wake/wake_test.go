package wake

import "testing"

func TestSignal(t *testing.T) {
	s := New()
	raised := func() bool {
		select {
		case <-s:
			return true
		default:
			return false
		}
	}
	if raised() {
		t.Error("a new signal is raised")
	}
	s.Raise()
	s.Raise()
	if !raised() || raised() {
		t.Error("raised twice, it is not there once")
	}
}
