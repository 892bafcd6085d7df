package load

import (
	"encoding/base64"
	"math/rand/v2"
	"strconv"
)

// MinRecordBytes is the size of the smallest record that [Records] can make.
const MinRecordBytes = 32

// Records prepares n JSON lines of exactly size bytes, without a line end. All
// but the frame of each is random base64, which compression takes to about
// three quarters. The same seed gives the same records. A size below
// [MinRecordBytes] is raised to it.
func Records(n, size int, seed uint64) [][]byte {
	var key [32]byte
	copy(key[:], strconv.FormatUint(seed, 16))
	rnd := rand.NewChaCha8(key)
	records := make([][]byte, n)
	for i := range records {
		records[i] = record(rnd, i, max(size, MinRecordBytes))
	}
	return records
}

func record(rnd *rand.ChaCha8, no, size int) []byte {
	head := append(make([]byte, 0, size), `{"n":`...)
	head = strconv.AppendInt(head, int64(no), 10)
	head = append(head, `,"data":"`...)
	const tail = `"}`
	want := size - len(head) - len(tail)
	raw := make([]byte, want*3/4+3)
	rnd.Read(raw) // never fails
	text := base64.RawURLEncoding.EncodeToString(raw)
	return append(append(head, text[:want]...), tail...)
}
