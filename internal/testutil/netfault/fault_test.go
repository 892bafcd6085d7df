package netfault

import (
	"context"
	"net/http"
	"slices"
	"testing"
)

func TestWhichIsStruck(t *testing.T) {
	put, get := http.MethodPut, http.MethodGet
	tests := []struct {
		name  string
		fault Fault
		want  []int // of the requests below
	}{
		{"all", Fault{Kind: Reset}, []int{0, 1, 2, 3, 4, 5}},
		{"method", Fault{Kind: Reset, Method: put}, []int{0, 2, 3, 5}},
		{"path", Fault{Kind: Reset, PathContains: "/b"}, []int{2, 4}},
		{"predicate", Fault{Kind: Reset, Match: func(r *http.Request) bool { return r.URL.Query().Get("comp") == "block" }}, []int{3, 5}},
		{"the third", Fault{Kind: Reset, Skip: 2, Times: 1}, []int{2}},
		{"each second PUT", Fault{Kind: Reset, Method: put, Every: 2}, []int{2, 5}},
		{"behind the first, each second, once", Fault{Kind: Reset, Skip: 1, Every: 2, Times: 1}, []int{2}},
		{"never by request", Fault{Kind: ReplyFirst}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Set
			a := s.Add(tt.fault)
			var got []int
			for i, r := range [][2]string{{put, "/a"}, {get, "/a"}, {put, "/b"}, {put, "/a?comp=block"}, {get, "/b"}, {put, "/a?comp=block"}} {
				req, err := http.NewRequestWithContext(t.Context(), r[0], "http://host"+r[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				if s.strike(req) != nil {
					got = append(got, i)
				}
			}
			if !slices.Equal(got, tt.want) || a.Struck() != len(tt.want) {
				t.Errorf("struck %v (%d times by its own count), want %v", got, a.Struck(), tt.want)
			}
			a.Remove()
			a.Remove()
			if len(s.active) != 0 {
				t.Error("a removed fault is in force")
			}
		})
	}
}

func TestWaitForStrikes(t *testing.T) {
	var s Set
	a := s.Add(Fault{Kind: ReplyFirst})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Wait(ended, 1); err == nil {
		t.Error("waited for nothing")
	}
	done := make(chan error)
	go func() { done <- a.Wait(t.Context(), 2) }()
	s.strike(nil)
	s.strike(nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
