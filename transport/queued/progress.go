package queued

import (
	"encoding/json"
	"slices"
	"time"

	"kustospool/transport"
)

// progressVersion is of the format below.
const progressVersion = 1

// maxAttempts bounds how many attempts a progress lists: the latest ones. The
// status rows of older ones are still found, by their partition.
const maxAttempts = 64

// The stages of an attempt.
const (
	stageUpload  = "upload"  // about to upload
	stageEnqueue = "enqueue" // uploaded; about to enqueue
	stageSubmit  = "submit"  // uploaded; about to submit over REST
)

// progress is what a Journal keeps of a batch. It goes to disk: names only,
// never a SAS or a token.
type progress struct {
	Version int `json:"v"`
	// The blob: the storage host, the container (with the account before it
	// where the host does not name one), and the name.
	Host      string `json:"host,omitempty"`
	Container string `json:"container,omitempty"`
	Blob      string `json:"blob,omitempty"`
	Stage     string `json:"stage,omitempty"`
	// Blocks is what storage has acknowledged of an upload that did not end.
	Blocks string `json:"blocks,omitempty"`
	// What the upload left there; empty until it ended.
	ETag string `json:"etag,omitempty"`
	Wire int64  `json:"wire,omitempty"`
	// Attempts that passed Commit, ascending: their messages may be posted.
	Attempts []int `json:"attempts,omitempty"`
	// Reports: the latest message asks for its outcome in the report queues.
	Reports bool `json:"reports,omitempty"`
	// Posted is when that message was taken, in Unix seconds by the clock of
	// storage; 0 where its reply is not there.
	Posted int64 `json:"posted,omitempty"`
	// Submits are the attempts over REST that passed Commit, ascending.
	Submits []submitted `json:"submits,omitempty"`
}

// submitted is an attempt over REST.
type submitted struct {
	Attempt int `json:"attempt"`
	// Request is the request's x-ms-client-request-id, for support.
	Request string `json:"request,omitempty"`
	// Operation is the service's id; empty while the reply is not there.
	Operation string `json:"operation,omitempty"`
}

// maxText bounds an id that is kept.
const maxText = 128

// decodeProgress reads a progress. What it cannot read, and the progress of
// another version, is as good as none: the batch is uploaded and tagged anew.
func decodeProgress(b []byte) progress {
	var p progress
	if len(b) == 0 || len(b) > transport.MaxProgressBytes || json.Unmarshal(b, &p) != nil || p.Version != progressVersion {
		return progress{Version: progressVersion}
	}
	p.Attempts = slices.DeleteFunc(p.Attempts, func(n int) bool { return n < 1 })
	slices.Sort(p.Attempts)
	p.Attempts = slices.Compact(p.Attempts)
	p.Submits = slices.DeleteFunc(p.Submits, func(s submitted) bool {
		return s.Attempt < 1 || len(s.Operation) > maxText || len(s.Request) > maxText
	})
	slices.SortStableFunc(p.Submits, func(a, b submitted) int { return a.Attempt - b.Attempt })
	return p
}

// encode writes the progress within the Journal's limit.
func (p progress) encode() []byte {
	p.Version = progressVersion
	for keep := maxAttempts; ; keep /= 2 {
		if n := len(p.Attempts); n > keep {
			p.Attempts = p.Attempts[n-keep:]
		}
		if n := len(p.Submits); n > keep {
			p.Submits = p.Submits[n-keep:]
		}
		b, err := json.Marshal(p)
		if err != nil {
			panic("queued: a progress of plain fields does not marshal: " + err.Error())
		}
		if len(b) <= transport.MaxProgressBytes {
			return b
		}
		if keep == 0 {
			// Names this long are not ours. Without them the batch is uploaded anew.
			p = progress{Version: progressVersion}
		}
	}
}

// with returns the progress with one more attempt.
func (p progress) with(attempt int) progress {
	if !slices.Contains(p.Attempts, attempt) {
		p.Attempts = append(slices.Clone(p.Attempts), attempt)
		slices.Sort(p.Attempts)
	}
	return p
}

// submit returns the progress with an attempt over REST, or with what is known
// of one by now.
func (p progress) submit(s submitted) progress {
	p.Submits = slices.DeleteFunc(slices.Clone(p.Submits), func(have submitted) bool { return have.Attempt == s.Attempt })
	p.Submits = append(p.Submits, s)
	slices.SortFunc(p.Submits, func(a, b submitted) int { return a.Attempt - b.Attempt })
	return p
}

// posted is Posted as a time, zero where it is not known.
func (p progress) posted() time.Time {
	if p.Posted <= 0 {
		return time.Time{}
	}
	return time.Unix(p.Posted, 0)
}

// latest is the last attempt that passed Commit, 0 for none.
func (p progress) latest() int {
	var n int
	if len(p.Attempts) > 0 {
		n = p.Attempts[len(p.Attempts)-1]
	}
	if len(p.Submits) > 0 {
		n = max(n, p.Submits[len(p.Submits)-1].Attempt)
	}
	return n
}
