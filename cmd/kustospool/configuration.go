package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/peterbourgon/ff/v3"
	"github.com/spf13/pflag"
)

const (
	// variablePrefix begins the name of the environment variable of each flag.
	variablePrefix = "KUSTOSPOOL"
	// configVariable names the file of flags where --config does not.
	configVariable = variablePrefix + "_CONFIG"
	configFlag     = "config"
	// mostConfig bounds what is read of that file.
	mostConfig = 1 << 20
	// lineOnly is the annotation of a flag that is given on the command line only,
	// because one of its name means something else to other commands, or because
	// what is left in an environment must not have it done.
	lineOnly = "line-only"
)

const configurationHelp = `Every flag can be given in three ways. What is on the command line counts first, then
the environment, then the file:

  --batch-age 5m                  on the command line
  KUSTOSPOOL_BATCH_AGE=5m         in the environment: the flag's name in capitals, with _ for -
  batch-age 5m                    in the file that --config or KUSTOSPOOL_CONFIG names

The file has one flag a line, its name and its value with a blank between; a flag that
is a switch may stand alone, a flag that may be repeated has a line for each value,
and # begins a comment. It may have flags of any command: each takes its own. A name
that is no flag of any command is an error. An empty variable counts as none. A flag
that is repeated is taken whole from one of the three: values do not add up across them.
Flags whose name means something else to another command are for the command line only:
--table of sim, and --from.
`

// onLineOnly marks a flag with lineOnly.
func onLineOnly(fs *pflag.FlagSet, name string) {
	fs.Lookup(name).Annotations = map[string][]string{lineOnly: {}}
}

// outside is a flag that is set by its name from outside of the command line.
// The set knows afterwards that it was, as for one of the command line.
type outside struct {
	fs   *pflag.FlagSet
	name string
}

func (o outside) Set(value string) error { return o.fs.Set(o.name, value) }

// String is empty: no default is shown from here.
func (o outside) String() string { return "" }

// fromOutside fills in the flags that the command line left out from the
// environment and from the file of flags.
func fromOutside(fs *pflag.FlagSet) error {
	path := os.Getenv(configVariable)
	if f := fs.Lookup(configFlag); f.Changed {
		path = f.Value.String()
	}
	rest := flag.NewFlagSet("", flag.ContinueOnError)
	rest.SetOutput(io.Discard)
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Changed && f.Name != configFlag && f.Annotations[lineOnly] == nil {
			rest.Var(outside{fs, f.Name}, f.Name, f.Usage)
		}
	})
	if err := ff.Parse(rest, nil, ff.WithEnvVarPrefix(variablePrefix)); err != nil {
		return fmt.Errorf("an environment variable: %w", cause(err))
	}
	if path == "" {
		return nil
	}
	err := ff.Parse(rest, nil, ff.WithConfigFile(path), ff.WithIgnoreUndefined(true),
		ff.WithConfigFileParser(parseConfig(changed(fs))))
	if err != nil {
		return fmt.Errorf("the file of flags %s: %w", path, cause(err))
	}
	return nil
}

// changed are the flags that have their value already.
func changed(fs *pflag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *pflag.Flag) { set[f.Name] = true })
	return set
}

// parseConfig reads lines of a flag's name and its value. What is in settled
// has its value already.
func parseConfig(settled map[string]bool) ff.ConfigFileParser {
	known := map[string]bool{}
	for _, cmd := range commands() {
		fs, _ := flagSet(cmd)
		fs.VisitAll(func(f *pflag.Flag) {
			known[f.Name] = known[f.Name] || f.Name != configFlag && f.Annotations[lineOnly] == nil
		})
	}
	return func(r io.Reader, set func(name, value string) error) error {
		text, err := io.ReadAll(io.LimitReader(r, mostConfig+1))
		switch {
		case err != nil:
			return err
		case len(text) > mostConfig:
			return fmt.Errorf("it must not be larger than %d bytes", mostConfig)
		}
		return ff.PlainParser(bytes.NewReader(text), func(name, value string) error {
			switch {
			case !known[name]:
				return fmt.Errorf("%q is no flag of any command: a line has a flag's name without dashes, and its value", name)
			case settled[name]:
				return nil
			}
			return set(name, value)
		})
	}
}

// cause is what stopped the library that reads flags, without the library's
// words around it.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	if _, after, ok := strings.Cut(err.Error(), "environment variable "); ok {
		variable, _, _ := strings.Cut(after, ":")
		return fmt.Errorf("%s: %w", strings.Trim(variable, `"`), invalid)
	}
	return invalid
}
