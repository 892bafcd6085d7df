package engine

import (
	"context"
	"testing"
	"time"

	"kustospool/operate"
)

// A check that nobody has asked for lately ends, and one that somebody asks for goes on.
func TestACheckNobodyAsksForEnds(t *testing.T) {
	for asked, ends := range map[time.Duration]bool{operate.CheckLease * time.Second / 2: false, operate.CheckLease * time.Second * 2: true} {
		ctx, stop := context.WithCancel(t.Context())
		k := &checks{stop: stop, seen: time.Now().Add(-asked)}
		k.progress(CheckProgress{Bytes: 7})
		if (ctx.Err() != nil) != ends || k.now.Bytes != 7 {
			t.Errorf("asked %v ago: %v, %+v", asked, ctx.Err(), k.now)
		}
		stop()
	}
}
