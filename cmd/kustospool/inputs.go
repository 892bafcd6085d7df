package main

import (
	"fmt"

	"kustospool/cmd/kustospool/internal/input"
)

// inputReport says how much of one input is stored.
type inputReport struct {
	Name    string `json:"input"` // of a blob its address, without its secret
	Records int64  `json:"records"`
	Whole   bool   `json:"whole"`            // all of it is stored, or all that it held when it was checked
	Change  string `json:"change,omitempty"` // what happened to it while it was read
	Why     string `json:"why,omitempty"`    // it is not whole

	// Earlier: all of it was stored by an earlier run, and nothing by this one.
	Earlier bool `json:"earlier,omitempty"`
	// EarlierBytes is up to where an earlier run has stored it, unpacked; Records
	// are of what is behind.
	EarlierBytes int64 `json:"earlier_bytes,omitempty"`
}

// String is one line for people.
func (in *inputReport) String() string {
	if in.EarlierBytes > 0 {
		rest := *in
		rest.EarlierBytes = 0
		return fmt.Sprintf("%s; an earlier run has stored it up to byte %d", rest.String(), in.EarlierBytes)
	}
	switch {
	case in.Earlier && in.Change == "":
		return fmt.Sprintf("%s: already stored by an earlier run", in.Name)
	case in.Change != "" && in.Whole:
		return fmt.Sprintf("%s: %s stored, all that it held when it was checked; the input %s", in.Name, count(in.Records, "record"), in.Change)
	case in.Change != "":
		return fmt.Sprintf("%s: %s stored; the input %s", in.Name, count(in.Records, "record"), in.Change)
	case in.Whole:
		return fmt.Sprintf("%s: %s stored, all of it", in.Name, count(in.Records, "record"))
	case in.Records == 0:
		return fmt.Sprintf("%s: nothing stored", in.Name)
	}
	return fmt.Sprintf("%s: %s stored, not all of it", in.Name, count(in.Records, "record"))
}

// newInputReports has one for each input, of which nothing is stored yet.
func newInputReports(sources []input.Source, blobs *blobInputs) []inputReport {
	out := make([]inputReport, 0, len(sources)+len(blobs.list))
	for i := range sources {
		out = append(out, inputReport{Name: sources[i].Name})
	}
	for i := range blobs.list {
		out = append(out, inputReport{Name: blobs.list[i].blob.URI})
	}
	return out
}

// changed reports whether an input changed while it was read.
func (r *report) changed() bool {
	for i := range r.Inputs {
		if r.Inputs[i].Change != "" {
			return true
		}
	}
	return false
}

// mostListed bounds the lines about single inputs.
const mostListed = 20

// unfinished are lines about the inputs that are not whole, have changed or were begun by an earlier run,
// with the number of the others; none where all are whole.
func (r *report) unfinished(quiet bool) []string {
	var lines []string
	whole, more := 0, 0
	for i := range r.Inputs {
		switch in := &r.Inputs[i]; {
		case in.Whole && in.Change == "" && (quiet || !in.Earlier && in.EarlierBytes == 0):
			whole++
		case len(lines) == mostListed:
			more++
		default:
			lines = append(lines, in.String())
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	if whole > 0 && len(lines) > 0 {
		lines = append(lines, fmt.Sprintf("all of %s", count(int64(whole), "other input")))
	}
	return lines
}

// count is n things in words.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// wait says that n things do.
func wait(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing + " waits"
	}
	return count(n, thing) + " wait"
}
