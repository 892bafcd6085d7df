package record

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzCut holds that nothing is lost and nothing changed between the pieces,
// that the way in which the bytes come makes no difference, and that good
// records stay what they are, alone and one behind the other.
func FuzzCut(f *testing.F) {
	rules := []Rule{csv, scsv, lines, jsonl, multi, {Cut: JSONLines, Unchecked: true}}
	for _, tc := range cutCases {
		for i, rule := range rules {
			if rule == tc.rule {
				f.Add([]byte(tc.in), uint8(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, pick uint8) {
		rule := rules[int(pick)%len(rules)]
		got, counts, bad := all(t, bytes.NewReader(in), rule, false)
		slow, _, slowBad := all(t, iotest.OneByteReader(bytes.NewReader(in)), rule, false)
		if !reflect.DeepEqual(got, slow) || !reflect.DeepEqual(bad, slowBad) {
			t.Fatalf("at once %q %v, byte by byte %q %v", got, bad, slow, slowBad)
		}
		if rule.Cut == Documents && bytes.ContainsAny(in, ",[") {
			// Brackets and commas between documents belong to none.
		} else if rest := visible(strings.Join(whole(got), "\n")); rest != visible(string(in)) {
			t.Errorf("%q holds %q, the pieces %q", in, visible(string(in)), rest)
		}
		var joined []byte
		var good []string
		for _, rec := range got {
			if strings.HasPrefix(rec, "!") && counts.Bad > 0 {
				continue
			}
			kept, err := rule.Check([]byte(rec))
			if err != nil || string(kept) != rec {
				t.Errorf("record %q checks as %q, %v", rec, kept, err)
			}
			good = append(good, rec)
			joined = append(append(joined, rec...), '\n')
		}
		again, _, _ := all(t, bytes.NewReader(joined), rule, false)
		if !reflect.DeepEqual(again, good) {
			t.Errorf("joined %q is cut into %q", good, again)
		}
	})
}

// whole is the records without the sign of the bad ones.
func whole(recs []string) []string {
	out := make([]string, len(recs))
	for i, rec := range recs {
		out[i] = strings.TrimPrefix(rec, "!")
	}
	return out
}

// visible is s without what may stand between records, and without the sign
// of a bad one.
func visible(s string) string {
	return strings.NewReplacer("\n", "", "\r", "", " ", "", "\t", "", "!", "").Replace(strings.ReplaceAll(s, "\xef\xbb\xbf", ""))
}

// FuzzObject holds isObject against encoding/json.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,{"b":"\u00e9\\"}],"c":null}`, "{}", `{"a":"`, `[{}]`, "{} {}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := skipSpace(b, 0)
		if got, want := isObject(b), json.Valid(b) && b[i] == '{'; got != want {
			t.Errorf("%q: %v, encoding/json says %v", b, got, want)
		}
		if i < len(b) && !isObject(b) && jsonFault(b, 0) == nil {
			t.Errorf("%q: no fault", b)
		}
		needsNext(b)
		_, _ = multi.Check(b)
	})
}
