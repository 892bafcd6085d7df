package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"time"

	"kustospool/ingest"
)

// formatVersion is the version of the directory's layout as a whole.
const formatVersion = 2

// Names inside the directory.
const (
	lockName      = "lock"
	ballastName   = "ballast"
	manifestName  = "manifest.db"
	segmentsName  = "segments"
	objectsName   = "objects"
	deadName      = "dead"
	quarantined   = "quarantine"
	segmentSuffix = ".db"
	tempSuffix    = ".tmp"
	salvageSuffix = ".salvage"
	objectSuffix  = ".obj"
)

// Buckets and keys of the manifest.
var (
	bktMeta     = []byte("meta")
	bktLanes    = []byte("lanes")    // lane -> properties, packed
	bktMarks    = []byte("marks")    // lane -> laneMarks, packed
	bktSegments = []byte("segments") // number -> segmentRow, packed
	bktBatches  = []byte("batches")  // lane, first -> batchRow, packed
	bktHistory  = []byte("history")  // lane, first -> batchRow, packed
	bktByTime   = []byte("by-time")  // settled at, lane, first -> nothing
	bktKeys     = []byte("keys")     // key hash -> lane, seq, accepted at
	bktKeyTimes = []byte("key-times")
	bktObjects  = []byte("objects") // object id -> objectRow, packed

	keyIdentity  = []byte("identity")  // 8 bytes
	keyVersion   = []byte("version")   // 4 bytes
	keyNumber    = []byte("number")    // 8 bytes; segments only
	keyActivated = []byte("activated") // segments only: there once it became the active one
	keyCompacted = []byte("compacted") // segments only: there once it was written again without what was settled
	keyState     = []byte("state")     // manifestState, packed
	keyCounters  = []byte("counters")  // counters, packed
)

var manifestBuckets = [][]byte{bktMeta, bktLanes, bktMarks, bktSegments, bktBatches, bktHistory, bktByTime, bktKeys, bktKeyTimes, bktObjects}

// segmentBuckets are those of a segment beside its frames.
var segmentBuckets = [][]byte{bktMeta, bktLanes, bktKeys, bktSheaves}

// A segment has bktMeta, bktLanes (lane -> laneSnapshot, packed), bktKeys and,
// beside these in the root bucket, framePrefix+lane+first -> frame. A large
// frame stands alone in a nested bucket under its key, as the value of
// keyFrame, so that bbolt does not write it again when its neighbour arrives.
//
// What a commit costs is the places in the file that it writes to. A bucket for
// each lane would be one more of them; and keyTally, which each commit changes,
// is the one key behind the frames, so that it is in the page of the newest
// one: where bbolt splits a page it leaves two keys to the second.
var (
	keyFrame = []byte("v")
	keyTally = []byte("~") // what the last transaction says that the file holds
)

const (
	framePrefix = 'z'
	nestedFrom  = 2 << 10
)

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// frameKey is where a lane's frame stands, or would stand, in a segment.
func frameKey(lane uint32, first uint64) []byte {
	return append([]byte{framePrefix}, rowKey(lane, first)...)
}

// frameAt is the lane and the first record of a frame's key.
func frameAt(key []byte) (lane uint32, first uint64, ok bool) {
	if len(key) != 13 || key[0] != framePrefix {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint64(key[5:]), true
}

// rowKey orders the ledger by lane, then by first record.
func rowKey(lane uint32, first uint64) []byte {
	return binary.BigEndian.AppendUint64(u32(lane), first)
}

// timeKey orders an index by time; tail makes it unique.
func timeKey(t time.Time, tail []byte) []byte {
	return append(u64(uint64(max(t.UnixNano(), 0))), tail...)
}

var errRow = errors.New("row checksum mismatch")

// pack is the stored form of a row: CRC32C, then its binary form, if it has
// one, or JSON.
func pack(v any) []byte {
	if row, ok := v.(compactRow); ok {
		p := row.appendTo(make([]byte, 4, 128))
		binary.BigEndian.PutUint32(p, crcOf(p[4:]))
		return p
	}
	body, err := json.Marshal(v)
	if err != nil {
		// Stored rows are plain structs of numbers, strings and times in range.
		panic("store: a row that cannot be stored: " + err.Error())
	}
	return append(u32(crcOf(body)), body...)
}

func crcOf(p []byte) uint32 { return crc32.Checksum(p, crcTable) }

// unpack reads what pack wrote.
func unpack(p []byte, v any) error {
	if len(p) < 4 || binary.BigEndian.Uint32(p) != crcOf(p[4:]) {
		return errRow
	}
	if row, ok := v.(compactRow); ok {
		return row.parse(p[4:])
	}
	return json.Unmarshal(p[4:], v)
}

// manifestState is what the manifest knows of the last run.
type manifestState struct {
	Epoch   uint64 `json:"epoch"`             // counts the opens
	Clean   bool   `json:"clean"`             // Close finished
	Rotated uint64 `json:"rotated"`           // no segment up to here can be new to the manifest
	Active  uint64 `json:"active"`            // the active segment when this was written
	Txid    uint64 `json:"txid"`              // its transaction number, at a clean close
	Lanes   uint32 `json:"lanes"`             // highest lane number given out
	History int64  `json:"history,omitempty"` // rows in the history
}

// laneMarks is where a lane stands. High and Bytes may lag behind what the
// segments hold; they are a floor.
type laneMarks struct {
	Base      uint64 `json:"base,omitempty"`      // records up to here are in nobody's books
	BaseBytes int64  `json:"baseBytes,omitempty"` // and their payload bytes
	Mark      uint64 `json:"mark"`                // last record that is in a batch, or was
	High      uint64 `json:"high"`                // last record known to be acknowledged
	Bytes     int64  `json:"bytes"`               // payload bytes up to High
	Gaps      []span `json:"gaps,omitempty"`      // numbers that are no records
}

// span is a range of sequence numbers, both ends included.
type span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

func (r span) count() int64 { return int64(r.Last - r.First + 1) }

// overlap is the number of sequence numbers that r and o share.
func (r span) overlap(o span) int64 {
	first, last := max(r.First, o.First), min(r.Last, o.Last)
	if first > last {
		return 0
	}
	return int64(last - first + 1)
}

// laneSnapshot is a lane as a segment remembers it from its activation, or
// from the lane's first frame in it.
type laneSnapshot struct {
	Key   string `json:"key"` // ingest.Properties.Key
	High  uint64 `json:"high"`
	Bytes int64  `json:"bytes"`
}

// segmentRow is a rotated segment.
type segmentRow struct {
	Size  int64
	Txid  uint64
	Lanes map[uint32]span
	Keys  bool // holds keys that are not in the manifest yet
	Lost  bool // the file is gone, and that was counted
}

// objectRow is an object that a frame in a listed segment refers to.
type objectRow struct {
	Lane  uint32 `json:"lane"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// batchRow is a batch in the ledger or the history. What the key, the lane
// and the spool's identity tell is left out.
type batchRow struct {
	Last       uint64
	Raw        int64
	Guarantee  ingest.Guarantee
	Confirm    ingest.Confirm
	SealedAt   time.Time
	State      ingest.State
	Attempts   int
	Unresolved int
	Duplicates int64
	Committed  bool
	Progress   []byte
	Next       time.Time
	Failure    *ingest.Failure
	Wire       int64
	Updated    time.Time
}

func rowOf(e *Entry) *batchRow {
	return &batchRow{
		Last: e.Batch.Last, Raw: e.Batch.RawBytes, Guarantee: e.Batch.Guarantee, Confirm: e.Batch.Confirm,
		SealedAt: e.Batch.SealedAt, State: e.State, Attempts: e.Attempts, Unresolved: e.Unresolved,
		Duplicates: e.PossibleDuplicates, Committed: e.Committed, Progress: e.Progress, Next: e.NextAttempt,
		Failure: e.Failure, Wire: e.WireBytes, Updated: e.Updated,
	}
}

// decodeRow reads a ledger row back. props finds the lane's properties.
func decodeRow(spool ingest.SpoolID, key, value []byte, props func(uint32) (ingest.Properties, bool)) (*Entry, error) {
	if len(key) != 12 {
		return nil, errors.New("ledger key of wrong length")
	}
	var r batchRow
	if err := unpack(value, &r); err != nil {
		return nil, err
	}
	lane, first := binary.BigEndian.Uint32(key), binary.BigEndian.Uint64(key[4:])
	p, ok := props(lane)
	if !ok {
		return nil, errors.New("ledger row of an unknown lane")
	}
	if first == 0 || r.Last < first || !r.State.Valid() || r.Raw < 0 {
		return nil, errors.New("ledger row holds impossible numbers")
	}
	return &Entry{
		Batch: ingest.Batch{
			ID: ingest.NewBatchID(spool, lane, first, r.Last), Lane: lane, First: first, Last: r.Last, Properties: p,
			Guarantee: r.Guarantee, Confirm: r.Confirm, RawBytes: r.Raw, SealedAt: r.SealedAt,
		},
		State: r.State, Attempts: r.Attempts, Unresolved: r.Unresolved, PossibleDuplicates: r.Duplicates,
		Committed: r.Committed, Progress: r.Progress, NextAttempt: r.Next, Failure: r.Failure, WireBytes: r.Wire,
		Updated: r.Updated,
	}, nil
}
