// Command vulns reads what govulncheck -format json writes and judges it: code
// that is called and vulnerable fails where a module of go.mod can be raised,
// and is told where it is the standard library's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// message is the part of govulncheck's messages that counts.
type message struct {
	Finding *struct {
		OSV   string `json:"osv"`
		Fixed string `json:"fixed_version"`
		Trace []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Function string `json:"function"`
		} `json:"trace"`
	} `json:"finding"`
}

func main() {
	called, rest := map[string]bool{}, map[string]bool{}
	for d := json.NewDecoder(os.Stdin); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Println("reading govulncheck:", err)
			os.Exit(2)
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 {
			continue
		}
		at := m.Finding.Trace[0]
		line := fmt.Sprintf("%s in %s %s, mended in %s", m.Finding.OSV, at.Module, at.Version, m.Finding.Fixed)
		switch {
		case at.Function == "":
			continue // it is there and not called
		case at.Module == "stdlib":
			rest[line] = true
		default:
			called[line] = true
		}
	}
	for _, line := range slices.Sorted(maps.Keys(rest)) {
		fmt.Println("build with a newer Go:", line)
	}
	for _, line := range slices.Sorted(maps.Keys(called)) {
		fmt.Println("CALLED AND VULNERABLE:", line)
	}
	if len(called) > 0 {
		os.Exit(1)
	}
	fmt.Println("no called code of a module that go.mod names is known to be vulnerable")
}
