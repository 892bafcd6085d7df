package sizing

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The plots of the page are what the formulas say, and the page shows each:
//
//	go test ./internal/testutil/sizing -run Plots -update
func TestPlots(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range Plots() {
		file, want := filepath.Join(filepath.Dir(page), "images", name), c.SVG()
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what the formulas say (%v): run this test with -update", file, err)
		}
		if strings.Count(string(text), "](images/"+name+")") != 1 {
			t.Errorf("the page does not show %s once", name)
		}
	}
}
