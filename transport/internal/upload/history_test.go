package upload

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestHistoryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		var sizes []int
		var d digest
		for i := range rapid.IntRange(0, 300).Draw(t, "blocks") {
			e := rapid.IntRange(leastExponent, mostExponent).Draw(t, "exponent")
			if len(h.runs) == maxRuns && h.runs[maxRuns-1].exponent != e {
				break
			}
			d = d.after(sha256.Sum256([]byte{byte(i)}))
			h.add(e, d, i/10+1)
			sizes = append(sizes, 1<<e)
		}
		text := h.String()
		if len(text) > 700 {
			t.Errorf("%d bytes", len(text))
		}
		back := parseHistory(text)
		if back.String() != text || back.blocks() != len(sizes) || back.digest != h.digest || back.attempt != h.attempt {
			t.Fatalf("%q came back as %q", text, back.String())
		}
		total := int64(0)
		for n, size := range sizes {
			if back.size(n) != size {
				t.Fatalf("block %d has %d bytes, want %d", n, back.size(n), size)
			}
			total += int64(size)
		}
		if back.bytes() != total || back.size(len(sizes)) != 0 || back.size(-1) != 0 && len(sizes) == 0 {
			t.Fatalf("%d bytes, want %d", back.bytes(), total)
		}
	})
}

// The largest history, and those beyond the bounds.
func TestHistoryBounds(t *testing.T) {
	d := ":" + strings.Repeat("ab", 16)
	for text, want := range map[string]int{
		"":                         0,
		"1:16x1" + d:               1,
		"7:16x2,22x3" + d:          5,
		"1:16x50000" + d:           50_000,
		"1:16x50001" + d:           0,
		"1:16x30000,17x30000" + d:  0,
		"1:16x1,16x1" + d:          0, // not as String writes it
		"0:16x1" + d:               0,
		"1:9x1" + d:                0,
		"1:23x1" + d:               0,
		"1:16x0" + d:               0,
		"1:16x-1" + d:              0,
		"1:16x9223372036854775807": 0,
		"1:16x1:ab":                0,
		"1:" + d:                   0,
		"1:" + strings.TrimSuffix(strings.Repeat("16x1,17x1,", 33), ",") + d:   0,
		"1:" + strings.TrimSuffix(strings.Repeat("16x700,17x7,", 32), ",") + d: 32 * 707,
	} {
		if h := parseHistory(text); h.blocks() != want {
			t.Errorf("%.60q has %d blocks, want %d", text, h.blocks(), want)
		}
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add("3:16x4,18x2:" + strings.Repeat("0f", 16))
	f.Add("1:22x50000:" + strings.Repeat("00", 16))
	f.Add("::")
	f.Fuzz(func(t *testing.T, text string) {
		h := parseHistory(text)
		if n := h.blocks(); n > maxBlocks || n > 0 && (len(h.runs) > maxRuns || h.attempt < 1 || h.size(n-1) < 1<<leastExponent) {
			t.Errorf("%q is read as %+v", text, h)
		}
		if again := parseHistory(h.String()); again.String() != h.String() {
			t.Errorf("%q is written as %q and read as %q", text, h.String(), again.String())
		}
	})
}

func TestBlockIDs(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	seen := map[string]bool{}
	for _, n := range []int{0, 1, maxBlocks - 1} {
		id := blockID(n, sum)
		raw, err := base64.StdEncoding.DecodeString(id)
		if back, ours := blockNumber(id); err != nil || len(raw) != 64 || !ours || back != n || seen[id] {
			t.Errorf("block %d: %q is %d, %v", n, id, back, ours)
		}
		seen[id] = true
	}
	if blockID(1, sum) == blockID(1, sha256.Sum256([]byte("y"))) {
		t.Error("other bytes, the same id")
	}
	for _, other := range []string{"", "AAAA", "%", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", 64)))} {
		if _, ours := blockNumber(other); ours {
			t.Errorf("%q passes for one of ours", other)
		}
	}
}
