package operate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
)

// turner is a power of a made-up spool, with the route that asks for it.
type turner interface {
	Turn(context.Context, turnQuery) (*turnAnswer, error)
}

type (
	turnQuery  struct{ By string }
	turnAnswer struct{ Turned string }
	turning    struct{ Spool }
)

func (turning) Turn(_ context.Context, q turnQuery) (*turnAnswer, error) {
	return &turnAnswer{Turned: q.By}, nil
}

func turnRoutes(mux *http.ServeMux, s Spool) {
	post(mux, "/v1/turn", func(ctx context.Context, q turnQuery) (*turnAnswer, error) {
		t, err := powerOf[turner](s, "turn")
		if err != nil {
			return nil, err
		}
		return t.Turn(ctx, q)
	})
}

// TestPost: a route that changes something, as another subject would add it.
func TestPost(t *testing.T) {
	subjects = append(subjects, turnRoutes)
	t.Cleanup(func() { subjects = subjects[:len(subjects)-1] })
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, tc := range []struct {
		name  string
		spool Spool
		q     any
		want  Code
	}{
		{"can", turning{}, turnQuery{By: "half"}, ""},
		{"cannot", nil, turnQuery{}, Unsupported},
		{"another member", turning{}, map[string]int{"Bye": 1}, Invalid},
		{"another type", turning{}, []int{1}, Invalid},
		{"too large", turning{}, turnQuery{By: strings.Repeat("x", MaxRequest)}, TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			socket, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			if tc.spool == nil {
				tc.spool = struct{ Spool }{(*Client)(nil)}
			}
			server := Serve(socket, tc.spool, slog.New(slog.DiscardHandler))
			defer server.Close()
			c, err := Dial(t.Context(), socket.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			answer, err := change[turnAnswer](t.Context(), c, "/v1/turn", tc.q)
			var e *Error
			switch {
			case tc.want == "" && (err != nil || answer.Turned != "half"):
				t.Errorf("%+v, %v", answer, err)
			case tc.want != "" && (!errors.As(err, &e) || e.Code != tc.want):
				t.Errorf("%+v, %v; want %s", answer, err, tc.want)
			}
		})
	}
}
