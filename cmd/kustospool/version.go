package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kustospool/internal/visible"
	"kustospool/store"
)

type versionSettings struct{ json bool }

// version is what version prints, in the form of --json.
type version struct {
	Module   string `json:"module"`
	Version  string `json:"version"`          // of the module; (devel) where it was built from its own tree
	Commit   string `json:"commit,omitempty"` // where the build knows it
	Time     string `json:"time,omitempty"`   // of the commit, RFC 3339
	Modified bool   `json:"modified"`         // the tree had changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Format is the version of the spools that this program writes.
	Format uint32 `json:"format"`
}

func versionCommand() *command {
	return &command{
		name:     "version",
		synopsis: "[--json]",
		summary:  "print the version of the program and of the spools that it writes",
		help: `Prints the module, the commit it was built from, where the build knows that, and the
version of the format of a spool.

Examples:
  kustospool version
  kustospool version --json

Exit codes: 0 printed, 2 the command is wrong.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(versionSettings)
			fs.BoolVar(&s.json, "json", false, "print one JSON object")
			return s
		},
		run: func(_ context.Context, c *console, settings any, args []string) (int, error) {
			if len(args) > 0 {
				return 0, usagef("version %q: version takes no arguments", args[0])
			}
			info, _ := debug.ReadBuildInfo()
			v := versionOf(info)
			if settings.(*versionSettings).json {
				return exitOK, json.NewEncoder(c.out).Encode(v)
			}
			return exitOK, v.writeText(c)
		},
	}
}

// versionOf reads what a build says of itself, which is nothing where it was
// built without module support.
func versionOf(info *debug.BuildInfo) *version {
	v := &version{Module: "kustospool", Version: "unknown", Format: store.FormatVersion}
	if info == nil {
		return v
	}
	if info.Main.Path != "" {
		v.Module = info.Main.Path
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	v.Go = info.GoVersion
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v.Commit, v.Time = settings["vcs.revision"], settings["vcs.time"]
	v.Modified = settings["vcs.modified"] == "true"
	if settings["GOOS"] != "" {
		v.Platform = settings["GOOS"] + "/" + settings["GOARCH"]
	}
	return v
}

func (v *version) writeText(c *console) error {
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, visible.String(value))
		}
	}
	line("module", v.Module)
	line("version", v.Version)
	commit := v.Commit
	if commit != "" && v.Modified {
		commit += ", with changes"
	}
	line("commit", commit)
	line("time", v.Time)
	line("go", v.Go)
	line("platform", v.Platform)
	line("spool format", fmt.Sprint(v.Format))
	return t.Flush()
}
