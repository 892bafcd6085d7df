package main

import (
	"context"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"kustospool/cmd/bench/internal/load"
)

// The store is to be read in an afternoon.
const (
	mostCode  = 6000
	mostLines = 400
)

// runLines counts the lines of a package and those below it, without tests.
func runLines(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var dir string
	flags := flag.NewFlagSet("lines", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&dir, "of", "store", "directory whose Go files are counted, with those below it")
	if err := parse(flags, args); err != nil {
		return err
	}
	c, err := countLines(dir)
	if err != nil {
		return err
	}
	if c.files == 0 {
		return usageError{fmt.Errorf("-of %q: must hold Go files that are no tests", dir)}
	}
	heading(stdout)
	fmt.Fprintf(stdout, "BenchmarkLines/of=%s-%d\t%8d\t%8d code-lines\t%8d lines\t%8d largest-file\n", dir, runtime.GOMAXPROCS(0), c.files, c.code, c.all, c.largest)
	return judge(stdout, []load.Bar{
		{Name: "lines of code of " + dir + " without tests", Over: load.Figure{Text: "code", Value: float64(c.code)}, Under: load.Figure{Text: "bound", Value: mostCode}, AtMost: 1},
		{Name: "lines of its largest file, " + c.name, Over: load.Figure{Text: "lines", Value: float64(c.largest)}, Under: load.Figure{Text: "bound", Value: mostLines}, AtMost: 1},
	}, verdictRounds)
}

// lineCount is of several files.
type lineCount struct {
	files     int
	code, all int    // code without comments and blank lines
	largest   int    // lines of the file with the most, comments included
	name      string // of that file
}

// countLines reads all Go files of a directory and those below it, but tests
// and testdata.
func countLines(dir string) (c lineCount, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		code, all, err := codeLines(source)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.files++
		c.code += code
		c.all += all
		if all > c.largest {
			c.largest, c.name = all, filepath.ToSlash(path)
		}
		return nil
	})
	return c, err
}

// codeLines counts the lines of a Go file that hold a token which is no
// comment, and all lines.
func codeLines(source []byte) (code, all int, err error) {
	var errs scanner.ErrorList
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(source))
	s.Init(file, source, errs.Add, 0) // without ScanComments there are none
	last := 0                         // the last line that was counted
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.SEMICOLON && text == "\n" {
			continue // put there by the scanner
		}
		first := file.Line(pos)
		end := first + strings.Count(text, "\n") // a raw string
		code += max(0, end-max(first-1, last))
		last = max(last, end)
	}
	if err := errs.Err(); err != nil {
		return 0, 0, err
	}
	all = strings.Count(string(source), "\n")
	if len(source) > 0 && source[len(source)-1] != '\n' {
		all++
	}
	return code, all, nil
}
