package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"kustospool/engine"
)

// shellLines are the commands of this program in a text of shell commands:
// continued lines are one, and a pipe has its parts. Comments and other
// programs are passed over.
func shellLines(t *testing.T, text string) [][]string {
	t.Helper()
	var out [][]string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		for _, part := range strings.Split(line, " | ") {
			words := shellWords(t, part)
			if len(words) > 0 && words[0] == "kustospool" {
				out = append(out, words[1:])
			}
		}
	}
	return out
}

// shellWords splits a command as a shell does, for blanks, quotes, a comment, and
// the redirection of output, which ends it.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	end := func() {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in = false
	}
	for _, r := range strings.TrimSpace(line) {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t':
			end()
		case !in && (r == '#' || r == '>'):
			return words
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		t.Errorf("a quote is not closed: %s", line)
	}
	end()
	return words
}

// TestExamples: every help has examples, and each is a command whose flags there are.
func TestExamples(t *testing.T) {
	for _, cmd := range commands() {
		_, text, ok := strings.Cut(cmd.help, "\nExamples:\n")
		if !ok {
			t.Errorf("%s: no examples", cmd.name)
			continue
		}
		text, _, _ = strings.Cut(text, "\n\n")
		lines := shellLines(t, text)
		if len(lines) == 0 {
			t.Errorf("%s: no command in its examples", cmd.name)
		}
		for _, words := range lines {
			if words[0] != cmd.name {
				t.Errorf("%s: an example of another command: %q", cmd.name, words)
				continue
			}
			fs, _ := flagSet(cmd)
			if err := fs.Parse(words[1:]); err != nil {
				t.Errorf("%s: %q: %v", cmd.name, words, err)
			}
		}
	}
}

// TestCompletion: the scripts call this program back, which knows every command
// and every flag of it.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := kustospool(t, "", "completion", shell)
		if got.code != exitOK || !strings.Contains(got.out, completeCall) || strings.Contains(got.out, `\u`) {
			t.Errorf("%s: %d, %.200s", shell, got.code, got.out)
		}
		path, err := exec.LookPath(shell)
		if errors.Is(err, exec.ErrNotFound) {
			t.Logf("%s is not installed: the syntax of its script is not checked here", shell)
			continue
		}
		check := exec.CommandContext(t.Context(), path, "-n")
		check.Stdin = strings.NewReader(got.out)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v: %s", shell, err, out)
		}
	}
	got := kustospool(t, "", completeCall, "")
	for _, cmd := range commands() {
		if !strings.Contains(got.out, cmd.name+"\t"+cmd.summary) {
			t.Errorf("%s is not completed: %s", cmd.name, got.out)
		}
		fs, _ := flagSet(cmd)
		flags := kustospool(t, "", completeCall, cmd.name, "--").out
		fs.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(flags, "--"+f.Name+"\t") {
				t.Errorf("%s: --%s is not completed", cmd.name, f.Name)
			}
		})
	}
	for name, values := range choices {
		got := kustospool(t, "", completePlainCall, "send", "--"+name, "")
		if !strings.HasPrefix(got.out, strings.Join(values, "\n")+"\n") {
			t.Errorf("--%s: %s", name, got.out)
		}
	}
	if got := kustospool(t, "", completePlainCall, "dead", ""); !strings.HasPrefix(got.out, "drop\nexport\nlist\nretry\nshow\n:") {
		t.Errorf("what dead does: %s", got.out)
	}
	if got := kustospool(t, "", completePlainCall, "dead", "show", ""); !strings.HasPrefix(got.out, ":") {
		t.Errorf("behind what dead does: %s", got.out)
	}
	if got := kustospool(t, "", "completion", "tcsh"); got.code != exitUsage || !strings.Contains(got.stderr, `"tcsh": the shell must be one of bash|zsh|fish`) {
		t.Errorf("%+v", got)
	}
}

// TestChoices: what is offered for a flag is taken by it.
func TestChoices(t *testing.T) {
	for name, values := range choices {
		for _, value := range values {
			fs, settings := flagSet(sendCommand())
			if err := fs.Parse([]string{"--" + name, value}); err != nil {
				t.Fatal(err)
			}
			s := settings.(*sendSettings)
			if _, err := s.options(nil, engine.TableName{}); err != nil {
				t.Errorf("--%s %s: %v", name, value, err)
			}
			if usage := fs.Lookup(name).Usage; name != "guarantee" && name != "confirm" && !strings.Contains(usage, value) && fs.Lookup(name).DefValue != value {
				t.Errorf("--%s %s is not in its help: %s", name, value, usage)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go9.9", Main: debug.Module{Path: "kustospool", Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "GOOS", Value: "plan9"}, {Key: "GOARCH", Value: "mips"}}}
	if got := *versionOf(info); got != (version{Module: "kustospool", Version: "v1.2.3", Commit: "abc", Modified: true, Go: "go9.9", Platform: "plan9/mips", Format: 3}) {
		t.Errorf("%+v", got)
	}
	if got := versionOf(nil); got.Version != "unknown" || got.Format != 3 {
		t.Errorf("without build information: %+v", got)
	}
	got := kustospool(t, "", "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || got.code != exitOK || v.Module != "kustospool" || v.Format != 3 || v.Go == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if short := kustospool(t, "", "--version"); short.code != exitOK || !strings.Contains(short.out, "spool format  3") {
		t.Errorf("%+v", short)
	}
	if bad := kustospool(t, "", "version", "x"); bad.code != exitUsage {
		t.Errorf("%+v", bad)
	}
}
