package kustosim_test

import (
	"errors"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

// The simulator makes no table under a name that the service does not take.
func TestNamesOfTables(t *testing.T) {
	sim, err := kustosim.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	for _, names := range [][2]string{{".", "T"}, {"D", ".."}, {"D/..", "T"}, {"D", "a'b"}, {"", "T"}} {
		if err := sim.CreateTable(names[0], names[1], kustosim.Column{Name: "a", Type: "int"}); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%q: %v", names, err)
		}
	}
	if err := sim.CreateTable("my db", "T-1.0", kustosim.Column{Name: "a", Type: "int"}); err != nil {
		t.Error(err)
	}
}
