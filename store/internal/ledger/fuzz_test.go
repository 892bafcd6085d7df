package ledger

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"kustospool/ingest"
)

// decode reads a row's body by its bucket, and gives what it would be stored as.
func decode(b bucket, key, body []byte) (value any, again []byte, err error) {
	switch b {
	case bktMeta:
		if string(key) == string(keyHead) {
			h, err := decodeHead(body)
			return h, encodeHead(h), err
		}
		s, err := decodeState(body)
		if err != nil {
			return nil, nil, err
		}
		return s, encodeState(s), nil
	case bktLanes:
		l, err := decodeLane(key, body)
		if err != nil {
			return nil, nil, err
		}
		return l, encodeLane(l.Key), nil
	case bktWatermarks:
		m, err := decodeWatermarks(body)
		return m, encodeWatermarks(&m), err
	case bktSegments:
		s, err := decodeSegment(key, body)
		if err != nil {
			return nil, nil, err
		}
		return s, encodeSegment(s), nil
	case bktTombstones:
		t, err := decodeTombstone(key, body)
		return t, encodeTombstone(t), err
	case bktBatches, bktHistory:
		e, err := decodeBatch(key, body)
		if err != nil {
			return nil, nil, err
		}
		return e, encodeBatch(e), nil
	case bktObjects:
		o, err := decodeObject(key, body)
		if err != nil {
			return nil, nil, err
		}
		return o, encodeObject(o), nil
	case bktPositions:
		p, err := decodePosition(key, body)
		if err != nil {
			return nil, nil, err
		}
		return p, encodePosition(p), nil
	case bktKeys:
		k, err := decodeKey(key, body)
		return k, encodeKey(&k), err
	}
	return nil, nil, errRowForm
}

// rowSeeds has rows of each kind.
func rowSeeds() (rows []row) {
	st := &state{State: State{Epoch: 3, Clean: true, Active: Active{1, 2, 3, 4, 5}, HighestNo: 6, Lanes: 7, Positions: 8, History: 9}, counters: Counters{Ingested: 1, Suspect: 2}, txid: 11}
	st.census[bktKeys].Rows, st.census[bktKeys].Sum = 4, 1<<40
	at := time.Unix(1, 2).UTC()
	e := &Entry{Batch: ingest.Batch{Lane: 1, First: 2, Last: 3, RawBytes: 4, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmAccepted, SealedAt: at, Oldest: at}, State: ingest.Sending,
		Attempts: 5, Unresolved: 6, PossibleDuplicates: 7, Committed: true, Progress: []byte("p"), NextAttempt: at, Failure: &ingest.Failure{Message: "no"}, WireBytes: 8, BlobBytes: 9, Updated: at}
	return []row{
		{bktMeta, keyHead, encodeHead(head{testSpool, FormatVersion})}, {bktMeta, keyState, encodeState(st)}, {bktLanes, u32(1), encodeLane(props(1).Key())},
		{bktWatermarks, u32(1), encodeWatermarks(&Watermarks{1, 2, 3, 4, 5, []Span{{6, 7}, {9, 10}}})}, {bktBatches, rowKey(1, 2), encodeBatch(e)},
		{bktSegments, u64(1), encodeSegment(&Segment{No: 1, Generation: 2, Size: 3, End: 4, Index: 5, FirstCommit: 6, LastCommit: 7, Chain: 8, Lanes: map[uint32]Span{1: {2, 3}, 4: {5, 6}}, Keys: true, Lost: true})},
		{bktTombstones, u64(1), encodeTombstone(Tombstone{1, 2})}, {bktObjects, make([]byte, 16), encodeObject(&Object{Lane: 1, First: 2, Last: 3, Size: 4})},
		{bktPositions, []byte("name"), encodePosition(&Position{"name", []byte("value"), 9})}, {bktPositions, []byte("name"), encodePosition(&Position{"name", nil, 9})},
		{bktKeys, make([]byte, 16), encodeKey(&Key{Lane: 1, Seq: 2, At: 3})},
	}
}

// TestRows: each kind of row is read as it was written, and every part of one
// is refused.
func TestRows(t *testing.T) {
	for _, r := range rowSeeds() {
		first, again, err := decode(r.b, r.key, r.value)
		if err != nil || !bytes.Equal(again, r.value) {
			t.Errorf("%s: %v, %x became %x", r.b, err, r.value, again)
			continue
		}
		if second, _, err := decode(r.b, r.key, again); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%s: %v, %+v became %+v", r.b, err, first, second)
		}
		if r.b != bktLanes && r.b != bktPositions {
			for n := range r.value {
				if _, _, err := decode(r.b, r.key, r.value[:n]); err == nil {
					t.Errorf("%s: %d of %d bytes are accepted", r.b, n, len(r.value))
				}
			}
			if _, _, err := decode(r.b, r.key, append(bytes.Clone(r.value), 0)); err == nil {
				t.Errorf("%s: a byte too many is accepted", r.b)
			}
		}
	}
}

// TestRowSum: a row counts in its own bucket and under its own key alone.
func TestRowSum(t *testing.T) {
	key, body := u64(7), []byte{1, 2, 3}
	value := sealRow(bktSegments, key, body)
	if got, err := openRow(bktSegments, key, value); err != nil || !bytes.Equal(got, body) {
		t.Fatal(got, err)
	}
	for name, err := range map[string]error{
		"another bucket": third(openRow(bktTombstones, key, value)), "another key": third(openRow(bktSegments, u64(8), value)),
		"a short key": third(openRow(bktSegments, key[:7], value)), "a short value": third(openRow(bktSegments, key, value[:3])),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func third(_ []byte, err error) error { return err }

// FuzzRow: a decoder takes any bytes, and what it accepts it can store and
// read again.
func FuzzRow(f *testing.F) {
	for _, r := range rowSeeds() {
		f.Add(uint8(r.b), r.key, r.value)
	}
	f.Fuzz(func(t *testing.T, b uint8, key, body []byte) {
		first, again, err := decode(bucket(b%uint8(bucketCount)), key, body)
		if err != nil {
			return
		}
		if h, ok := first.(head); ok && h.Version > FormatVersion {
			return // a row of the future
		}
		second, _, err := decode(bucket(b%uint8(bucketCount)), key, again)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v became %+v, %v", first, second, err)
		}
	})
}

// FuzzVerify: the reader takes any file, in bounded time and memory, and says
// damage, another format, or gives books that balance.
func FuzzVerify(f *testing.F) {
	used, before := usedFile(f)
	fresh, made := freshFile(f)
	for _, file := range [][]byte{fresh, made, used, before, used[:8192], {}} {
		f.Add(file, uint32(0), uint32(0), []byte{})
		f.Add(file, uint32(4096+10), uint32(1), []byte{1})
	}
	f.Fuzz(func(t *testing.T, file []byte, at, from uint32, patch []byte) {
		file = bytes.Clone(file)
		if int(at) < len(file) {
			copy(file[at:], patch)
		}
		if len(file) >= 8192 && from%3 == 0 { // let the damage reach the trees
			sumMeta(file[pageHeaderLen:])
			sumMeta(file[4096+pageHeaderLen:])
		}
		p, err := verify(bytes.NewReader(file), int64(len(file)), from%2 == 0)
		if err != nil {
			var ve *VersionError
			if !errors.Is(err, ErrDamaged) && !errors.As(err, &ve) {
				t.Fatal(err)
			}
			return
		}
		if err := p.mirror.balance(); err != nil {
			t.Fatal(err)
		}
	})
}
