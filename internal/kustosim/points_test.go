package kustosim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// points reads the tables of docs/simulator.md with the columns point, page and
// test, and lists what is wrong with their rows. tests are the names that exist.
func points(text string, tests []string) (rows int, wrong []string) {
	link := regexp.MustCompile(`^\[[^\]]+\]\(https://learn\.microsoft\.com/[a-z0-9/-]+\)$`)
	name := regexp.MustCompile("^`(Test[A-Za-z0-9_]+)(/[^`]*)?`$")
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		switch {
		case line == "| point | page | test |":
			in = true
			continue
		case !strings.HasPrefix(line, "|"):
			in = false
		}
		if !in || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		if len(cells) != 3 {
			wrong = append(wrong, fmt.Sprintf("%d cells: %s", len(cells), line))
			continue
		}
		if page := strings.TrimSpace(cells[1]); page != "recorded" && !link.MatchString(page) {
			wrong = append(wrong, "no page of learn.microsoft.com: "+line)
		}
		for test := range strings.SplitSeq(cells[2], ",") {
			m := name.FindStringSubmatch(strings.TrimSpace(test))
			if m == nil || !slices.Contains(tests, m[1]) {
				wrong = append(wrong, "no test "+strings.TrimSpace(test)+": "+line)
			}
		}
	}
	return rows, wrong
}

// testNames lists the tests of the simulator and its rooms.
func testNames(t *testing.T) (names []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	for _, pattern := range []string{"*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// Every point that docs/simulator.md claims has a page and a test.
func TestPointsHavePagesAndTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("docs/simulator.md is not where the test looks for it")
	}
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	rows, wrong := points(string(page), tests)
	for _, w := range wrong {
		t.Error(w)
	}
	if rows < 30 {
		t.Errorf("only %d points were found", rows)
	}

	// The control: what is wrong is seen.
	const head = "| point | page | test |\n|---|---|---|\n"
	for row, want := range map[string]int{
		"| p | [x](https://learn.microsoft.com/kusto/x) | `TestPointsHavePagesAndTests` |":    0,
		"| p | recorded | `TestPointsHavePagesAndTests`, `TestPointsHavePagesAndTests/sub` |": 0,
		"| p | recorded | `TestThatNobodyWrote` |":                                            1,
		"| p | recorded | `TestPointsHavePagesAndTests`, TestMain |":                          1,
		"| p | [x](https://example.org/kusto/x) | `TestPointsHavePagesAndTests` |":            1,
		"| p | | `TestPointsHavePagesAndTests` |":                                             1,
		"| p | recorded |": 1,
	} {
		if n, wrong := points(head+row+"\n", tests); n != 1 || len(wrong) != want {
			t.Errorf("control: of %s it says %d rows and %q", row, n, wrong)
		}
	}
}
