package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kustospool/cmd/bench/internal/report"
)

// runReport draws what benchmarks printed, a file for each chart. Either all
// charts are written or none: each is made under another name first.
func runReport(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var out, prefix string
	fs := flag.NewFlagSet("report", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: bench report [flags] FILE...\nFILE is what bars.sh, peers or a benchmark with verdicts printed (not bench ingest by itself). Each chart becomes a file PREFIXname.svg.\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&out, "out", ".", "directory for the charts, which must exist")
	fs.StringVar(&prefix, "prefix", "bench-", "what the name of each chart's file begins with")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageError{err}
	case fs.NArg() == 0:
		return usageError{errors.New("wants at least one FILE with the output of benchmarks")}
	case prefix != "" && filepath.Base(prefix) != prefix:
		return usageError{fmt.Errorf("-prefix %q: must be a name, not a path", prefix)}
	}
	var runs []report.Run
	for _, name := range fs.Args() {
		more, err := readReport(name)
		if err != nil {
			return err
		}
		runs = append(runs, more...)
	}
	charts := report.Charts(runs)
	if len(charts) == 0 {
		return errors.New("nothing to draw: lines want two engines that have a chart, measured with two numbers of producers; bars want a verdict that has one")
	}
	return writeCharts(out, prefix, charts, stdout)
}

func readReport(name string) (runs []report.Run, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return report.Read(f, name)
}

// writeCharts puts all files beside their places, and then into them.
func writeCharts(dir, prefix string, charts []report.Named, stdout io.Writer) (err error) {
	temps := make(map[string]string, len(charts)) // by the name that the file is to have
	defer func() {
		for _, temp := range temps {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	for _, c := range charts {
		f, err := os.CreateTemp(dir, ".bench-report-")
		if err != nil {
			return err
		}
		temps[filepath.Join(dir, prefix+c.Name+".svg")] = f.Name()
		_, err = f.Write(c.Chart.SVG())
		// Charts are for everybody who may read the directory, as images of documents are.
		if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			return err
		}
	}
	for _, c := range charts {
		name := filepath.Join(dir, prefix+c.Name+".svg")
		if err := os.Rename(temps[name], name); err != nil {
			return err
		}
		delete(temps, name)
		fmt.Fprintf(stdout, "%s\t%s\n", name, c.Chart.Title)
	}
	return nil
}
