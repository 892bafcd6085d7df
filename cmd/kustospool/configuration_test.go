package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flags")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flagsOf are the settings of send after all sources of flags were read.
func flagsOf(t *testing.T, args ...string) (*sendSettings, error) {
	t.Helper()
	fs, settings := flagSet(sendCommand())
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return settings.(*sendSettings), fromOutside(fs)
}

// TestPrecedence: the command line counts before the environment, and that
// before the file.
func TestPrecedence(t *testing.T) {
	path := configFile(t, "# comment\ntable file\nmode streaming\ndatabase file\ntag a\ntag b\njson\nlisten 127.0.0.1:1\n")
	t.Setenv("KUSTOSPOOL_TABLE", "variable")
	t.Setenv("KUSTOSPOOL_DATABASE", "variable")
	t.Setenv("KUSTOSPOOL_CONFIG", path)
	t.Setenv("KUSTOSPOOL_FORMAT", "") // counts as none
	s, err := flagsOf(t, "--database", "line")
	if err != nil {
		t.Fatal(err)
	}
	if s.database != "line" || s.table != "variable" || s.mode != "streaming" || strings.Join(s.tags, " ") != "a b" || !s.json || s.format != "" {
		t.Errorf("%+v", s)
	}
	other := configFile(t, "mode direct\ntag c\n")
	if s, err = flagsOf(t, "--config", other, "--tag", "d"); err != nil || s.mode != "direct" || strings.Join(s.tags, " ") != "d" {
		t.Errorf("--config counts before its variable, and --tag before the file: %+v, %v", s, err)
	}
	t.Setenv("KUSTOSPOOL_TAG", "e")
	if s, err = flagsOf(t); err != nil || strings.Join(s.tags, " ") != "e" {
		t.Errorf("a repeated flag is taken from one source: %+v, %v", s.tags, err)
	}
}

// TestEveryFlagFromOutside: each flag of each command has a variable and a line
// that set it, except the one that names the file.
func TestEveryFlagFromOutside(t *testing.T) {
	values := map[string]string{"string": "x", "stringSlice": "x", "stringArray": "x", "bool": "true", "int": "3", "int64": "3", "duration": "3s", "bytes": "3MiB", "time": "48h"}
	for _, cmd := range commands() {
		probe, _ := flagSet(cmd)
		probe.VisitAll(func(f *pflag.Flag) {
			if f.Name == configFlag || f.Annotations[lineOnly] != nil {
				return
			}
			value, ok := values[f.Value.Type()]
			if !ok {
				value = f.DefValue
			}
			variable := "KUSTOSPOOL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			t.Run(cmd.name+"/"+f.Name, func(t *testing.T) {
				path := configFile(t, f.Name+" "+value+"\n")
				fs, _ := flagSet(cmd)
				if err := fs.Parse([]string{"--config", path}); err != nil {
					t.Fatal(err)
				}
				if err := fromOutside(fs); err != nil || !fs.Lookup(f.Name).Changed {
					t.Errorf("the file did not set it: %v", err)
				}
				t.Setenv(variable, value)
				fs, _ = flagSet(cmd)
				if err := fromOutside(fs); err != nil || !fs.Lookup(f.Name).Changed {
					t.Errorf("%s did not set it: %v", variable, err)
				}
			})
		})
	}
}

// TestFlagsOfOneNameMeanTheSame: a flag that has the name of another command's and
// takes something else is not set from outside, where both would have its value.
func TestFlagsOfOneNameMeanTheSame(t *testing.T) {
	t.Setenv("KUSTOSPOOL_TABLE", "Readings")
	t.Setenv("KUSTOSPOOL_CONFIG", configFile(t, "table Readings\n"))
	types := map[string]string{}
	for _, cmd := range commands() {
		fs, _ := flagSet(cmd)
		if err := fromOutside(fs); err != nil {
			t.Fatalf("%s: %v", cmd.name, err)
		}
		fs.VisitAll(func(f *pflag.Flag) {
			outside := f.Annotations[lineOnly] == nil
			if f.Name == "table" && f.Changed != outside {
				t.Errorf("--table of %s: set from outside is %v", cmd.name, f.Changed)
			}
			if was := types[f.Name]; was != "" && was != f.Value.Type() && outside {
				t.Errorf("--%s of %s takes a %s, and that of another command a %s", f.Name, cmd.name, f.Value.Type(), was)
			}
			if outside {
				types[f.Name] = f.Value.Type()
			}
		})
	}
	fs, _ := flagSet(simCommand())
	if err := fs.Parse([]string{"--table", "D.T"}); err != nil || !fs.Changed("table") {
		t.Errorf("--table of sim on the command line: %v", err)
	}
}

// TestBadConfiguration: what is wrong is named with its place, its value and the rule.
func TestBadConfiguration(t *testing.T) {
	for _, test := range []struct {
		name, file, variable, value string
		want                        []string
	}{
		{name: "variable", variable: "KUSTOSPOOL_BATCH_BYTES", value: "7 apples", want: []string{"KUSTOSPOOL_BATCH_BYTES", `"7 apples"`, "--batch-bytes", "number of bytes"}},
		{name: "value in the file", file: "batch-bytes 7 apples\n", want: []string{"flags", `"7 apples"`, "--batch-bytes", "number of bytes"}},
		{name: "unknown name", file: "batchbytes 7\n", want: []string{"flags", `"batchbytes"`, "no flag of any command"}},
		{name: "a file that names a file", file: "config x\n", want: []string{`"config"`, "no flag of any command"}},
		{name: "no file", variable: "KUSTOSPOOL_CONFIG", value: "/nowhere/at-all", want: []string{"/nowhere/at-all", "file of flags"}},
		{name: "a large file", file: strings.Repeat("# x\n", mostConfig/4+1), want: []string{"must not be larger than 1048576 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.file != "" {
				t.Setenv(configVariable, configFile(t, test.file))
			}
			if test.variable != "" {
				t.Setenv(test.variable, test.value)
			}
			got := kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T")
			if got.code != exitUsage {
				t.Errorf("code %d", got.code)
			}
			for _, want := range test.want {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("%q is missing in %s", want, got.stderr)
				}
			}
		})
	}
}
