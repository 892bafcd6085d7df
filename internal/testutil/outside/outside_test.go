package outside

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	// What the program imports, so that the test's cached result does not
	// outlive a change of it.
	_ "kustospool/engine"
	_ "kustospool/transport/dir"
	_ "kustospool/transport/queued"
)

// program is what somebody writes who has read README.
const program = `package main

import (
	"context"
	"log"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
	"kustospool/transport/queued"
)

func main() {
	if _, err := queued.NewClient("http://127.0.0.1:1", nil, nil); err != nil {
		log.Fatal(err)
	}
	client, err := dir.NewClient("out", nil)
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open("spool", client, nil)
	if err != nil {
		log.Fatal(err)
	}
	table, err := spool.Table(ingest.Properties{Database: "Fleet", Table: "Readings", Format: ingest.JSON})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := table.Ingest(context.Background(), []byte("{\"boat\":\"Kittiwake\"}")); err != nil {
		log.Fatal(err)
	}
	if err := spool.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
`

// TestProgramOutside builds and runs a program of another module. It uses no
// network: what the module is built of is in the module cache, and its sums
// are those of this module's go.sum.
func TestProgramOutside(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const where = "../kustospool"
	commands := commandsFor(read("README.md"))
	if len(commands) != 2 || len(commands[0]) != 5 || commands[0][4] != "kustospool="+where {
		t.Fatalf("README gives other commands: %q", commands)
	}

	// README's way to the checkout is relative: the program lies beside it.
	home := t.TempDir()
	app := filepath.Join(home, "app")
	if err := os.Mkdir(app, 0o700); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		commands[0][4] = "kustospool=" + root // making links takes a privilege there
	} else if err := os.Symlink(root, filepath.Join(home, "kustospool")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"main.go": program, "go.sum": read("go.sum")} {
		if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = app
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "PWD="+app)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	do("go", "mod", "init", "example.org/app")
	for _, args := range commands {
		do(args...)
	}
	do("go", "vet", ".")
	binary := filepath.Join(app, "app.exe") // a name that every system runs
	do("go", "build", "-o", binary, ".")
	do(binary)
	files, err := filepath.Glob(filepath.Join(app, "out", "Fleet", "Readings", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && string(text) == "{\"boat\":\"Kittiwake\"}\n" {
			return
		}
	}
	t.Errorf("the program delivered %q", files)
}

// commandsFor are the commands of README's block that begins with the one
// about where the module is, without their comments.
func commandsFor(readme string) [][]string {
	_, block, ok := strings.Cut(readme, "```sh\ngo mod edit")
	if !ok {
		return nil
	}
	block, _, _ = strings.Cut("go mod edit"+block, "```")
	var out [][]string
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, "#")
		out = append(out, strings.Fields(command))
	}
	return out
}
