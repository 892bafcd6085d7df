package record

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// wideLine is a line of telemetry of about 1 KiB: short names, numbers,
// nesting, an escape here and there.
func wideLine() []byte {
	var b strings.Builder
	b.WriteString(`{"ts":"2026-11-03T04:05:06.123456Z","seq":123456,"vessel":{"name":"Kittiwake \"II\"","flag":"DE","mmsi":211234560},"position":[54.3233,10.1228],"ok":true,"fix":null`)
	for i := 0; b.Len() < 900; i++ {
		fmt.Fprintf(&b, `,"sensor%d":{"value":%d.%d,"unit":"kPa","state":"nominal"}`, i, 17*i, 31*i)
	}
	b.WriteString(`,"note":"free text of some length, as a watch keeper writes it: größer"}`)
	return []byte(b.String())
}

// textLine is a line of 1 KiB of few and long strings, as of logs.
func textLine() []byte {
	return []byte(`{"ts":"2026-11-03T04:05:06.123456Z","level":"info","msg":"` + strings.Repeat("a long message with words ", 35) + `"}`)
}

// Issue bar: at least 700 MB/s a core on lines of 1 KiB, 0 allocations.
func BenchmarkObject(b *testing.B) {
	for name, line := range map[string][]byte{"telemetry": wideLine(), "log": textLine()} {
		b.Run(fmt.Sprintf("%s/%dB", name, len(line)), func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if !isObject(line) {
					b.Fatal("no object")
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	row := []byte("2026-11-03T04:05:06Z,123456,\"Kittiwake, \"\"II\"\"\",54.3233,10.1228,true,free text of some length\n")
	for _, bc := range []struct {
		name string
		rule Rule
		line []byte
	}{
		{"json", jsonl, append(wideLine(), '\n')},
		{"json unchecked", Rule{Cut: JSONLines, Unchecked: true}, append(wideLine(), '\n')},
		{"multijson", multi, append(wideLine(), '\n')},
		{"csv", csv, row},
		{"csv without quotes", csv, bytes.ReplaceAll(row, []byte{'"'}, nil)},
		{"tsv", lines, row},
	} {
		text := bytes.Repeat(bc.line, 1<<20/len(bc.line))
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r := NewReader(bytes.NewReader(text), bc.rule)
				for {
					if p, err := r.Next(); err == io.EOF {
						break
					} else if p.Kind != Good {
						b.Fatal(p.Fault)
					}
				}
			}
		})
	}
}
