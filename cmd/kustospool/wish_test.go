package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/internal/kustosim"
	"kustospool/operate"
)

// Until when the service asks to wait is told by the run that met it and by
// status; a refusal without a wish is the control.
func TestSend_TellsTheWishToWait(t *testing.T) {
	for name, after := range map[string]time.Duration{"wish": 40 * time.Minute, "control": 0} {
		t.Run(name, func(t *testing.T) {
			sim := simulator(t, &kustosim.Options{AutoCreate: true})
			sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 429, RetryAfter: after})
			spool := filepath.Join(t.TempDir(), "s")
			begun := time.Now()
			got := kustospool(t, "{}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--spool", spool, "--timeout", "500ms", "--json")
			shown := kustospool(t, "", "status", "--spool", spool)
			if got.code != exitPending || shown.code != exitOK {
				t.Fatalf("%+v, %+v", got, shown)
			}
			for _, text := range []string{got.stderr, shown.out} {
				_, rest, found := strings.Cut(text, "the service asks to wait until ")
				if found != (after > 0) {
					t.Errorf("told %v in %s", found, text)
				}
				if !found {
					continue
				}
				until, err := time.Parse(time.RFC3339, rest[:len("2026-11-27T08:00:00Z")])
				if wait := until.Sub(begun); err != nil || wait < after-2*time.Second || wait > after+time.Minute {
					t.Errorf("until %v, %v; the run began at %v", until, err, begun)
				}
			}
			s := decode[operate.Status](t, kustospool(t, "", "status", "--spool", spool, "--json").out)
			if f := s.Lanes[0].Failure; f == nil || f.NotBefore.IsZero() != (after == 0) {
				t.Errorf("status --json: %+v", f)
			}
		})
	}
}
