package content

import (
	"bytes"
	"strconv"
	"strings"
)

// HeadBytes is how much of the beginning of a source is looked at: a tar
// header. Less will do where there is less.
const HeadBytes = 512

// Kind is what bytes are, in words that stand behind "is".
type Kind string

// What Of knows. Unknown is text, or anything else.
const (
	Unknown  Kind = ""
	Gzip     Kind = "gzip data"
	Zip      Kind = "a zip archive"
	Tar      Kind = "a tar archive"
	Zstd     Kind = "zstd data"
	XZ       Kind = "xz data"
	Bzip2    Kind = "bzip2 data"
	SevenZip Kind = "a 7z archive"
	Parquet  Kind = "a Parquet file"
	Avro     Kind = "an Avro file"
	ORC      Kind = "an ORC file"
	UTF16    Kind = "UTF-16"
	UTF32    Kind = "UTF-32"
	Binary   Kind = "binary data with NUL bytes"
)

// magics are the first bytes of what has its own.
var magics = []struct {
	magic string
	kind  Kind
}{
	{"\x1f\x8b", Gzip},
	{"PK\x03\x04", Zip},
	{"PK\x05\x06", Zip}, // an empty one
	{"PK\x07\x08", Zip}, // a part of one
	{"\x28\xb5\x2f\xfd", Zstd},
	{"\xfd7zXZ\x00", XZ},
	{"7z\xbc\xaf\x27\x1c", SevenZip},
	{"PAR1", Parquet},
	{"PARE", Parquet}, // its footer is encrypted
	{"Obj\x01", Avro},
	{"\xff\xfe\x00\x00", UTF32},
	{"\x00\x00\xfe\xff", UTF32},
	{"\xff\xfe", UTF16},
	{"\xfe\xff", UTF16},
}

// Of says what a source is that begins with head. What has no first bytes of
// its own is Unknown, unless there is a NUL in it.
func Of(head []byte) Kind {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind
		}
	}
	switch {
	case len(head) >= 10 && bytes.HasPrefix(head, []byte("BZh")) && head[3] >= '1' && head[3] <= '9' &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17rE8P\x90"):
		return Bzip2
	case isTar(head):
		return Tar
	case bytes.IndexByte(head, 0) < 0:
		return Unknown
	case bytes.HasPrefix(head, []byte("ORC")):
		return ORC // three letters are no proof; a NUL behind them is
	case isUTF16(head):
		return UTF16
	}
	return Binary
}

// isTar knows a tar archive by its magic, and one from before there was a
// magic by the checksum of its header.
func isTar(head []byte) bool {
	if len(head) >= 262 && string(head[257:262]) == "ustar" {
		return true
	}
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[148:156]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := int64(8 * ' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum == want
}

// isUTF16 knows Latin text in UTF-16 without a mark: every second byte is a
// NUL, and few of the others are.
func isUTF16(head []byte) bool {
	var nuls [2]int
	for i, c := range head {
		if c == 0 {
			nuls[i%2]++
		}
	}
	pairs := (len(head) + 1) / 2
	more, fewer := max(nuls[0], nuls[1]), min(nuls[0], nuls[1])
	return more*10 >= pairs*6 && fewer*10 <= pairs
}
