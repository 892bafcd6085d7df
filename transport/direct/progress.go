package direct

import (
	"encoding/json"

	"github.com/google/uuid"

	"kustospool/transport"
	"kustospool/transport/internal/upload"
)

// progressVersion is of the format below. It differs from those of the other
// transports, so that none reads another's as its own.
const progressVersion = 101

// maxRequests bounds how many request ids a progress lists: the latest ones.
// Of a tagged batch the extents still tell about older ones.
const maxRequests = 24

// maxRequestID bounds one of them.
const maxRequestID = 64

// progress is what a Journal keeps of a batch. It goes to disk: names only,
// never a SAS or a token.
type progress struct {
	Version int `json:"v"`
	upload.Blob
	// Parts are the blobs of a batch in several that have ended, from the first
	// on; Blob is then the one under way.
	Parts []uploaded `json:"parts,omitempty"`
	// Requests are the client request ids of the commands that may have been
	// sent, oldest first.
	Requests []string `json:"requests,omitempty"`
	// Operation is what the latest of them answered with, when it was async;
	// empty until the answer came.
	Operation string `json:"operation,omitempty"`
}

// decodeProgress reads a progress. What it cannot read, and the progress of
// another version, is as good as none.
func decodeProgress(b []byte) progress {
	var p progress
	if len(b) == 0 || len(b) > transport.MaxProgressBytes || json.Unmarshal(b, &p) != nil || p.Version != progressVersion {
		return progress{Version: progressVersion}
	}
	kept := p.Requests[:0]
	for _, id := range p.Requests {
		if id != "" && len(id) <= maxRequestID {
			kept = append(kept, id)
		}
	}
	p.Requests = kept[max(0, len(kept)-maxRequests):]
	if id, ok := p.operation(); ok {
		p.Operation = id.String()
	} else {
		p.Operation = ""
	}
	return p
}

// operation is the id of the latest command's operation.
func (p progress) operation() (uuid.UUID, bool) {
	id, err := uuid.Parse(p.Operation)
	return id, err == nil && id != uuid.Nil && len(p.Requests) > 0
}

// encode writes the progress within the Journal's limit.
func (p progress) encode() []byte {
	p.Version = progressVersion
	p.Requests = p.Requests[max(0, len(p.Requests)-maxRequests):]
	b, err := json.Marshal(p)
	if err != nil {
		panic("direct: a progress of plain fields does not marshal: " + err.Error())
	}
	if len(b) > transport.MaxProgressBytes {
		// Names this long are not ours. Without them the batch is uploaded anew.
		return progress{Requests: p.Requests, Operation: p.Operation}.encode()
	}
	return b
}

// latest is the request id of the last command, empty for none.
func (p progress) latest() string {
	if len(p.Requests) == 0 {
		return ""
	}
	return p.Requests[len(p.Requests)-1]
}

// streamProgress is the version of a stream's progress: its request id alone,
// for support. No later attempt can use it.
const streamProgress = 102

func (p progress) mark() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("direct: a progress of plain fields does not marshal: " + err.Error())
	}
	return b
}

// Streamed reports whether progress is of an attempt that streamed: its rows
// may be in the table.
func Streamed(b []byte) bool {
	var p struct {
		Version int `json:"v"`
	}
	return len(b) <= transport.MaxProgressBytes && json.Unmarshal(b, &p) == nil && p.Version == streamProgress
}
