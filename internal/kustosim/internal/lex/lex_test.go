package lex

import "testing"

func FuzzLex(f *testing.F) {
	for _, s := range []string{".create table T (a:string)", "['x'] \"y\\n\" @'z''' h@\"q\" ```m``` // c\n|", "h'", "@", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens, err := All(s)
		if err == nil && len(tokens) > len(s) {
			t.Errorf("%q has %d tokens", s, len(tokens))
		}
	})
}
