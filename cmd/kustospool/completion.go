package main

import (
	"context"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The names by which a script of completion calls the command back.
const (
	completeCall       = cobra.ShellCompRequestCmd
	completePlainCall  = cobra.ShellCompNoDescRequestCmd
	completionSynopsis = "bash|zsh|fish"
)

// choices are the flags whose values are few and known.
var choices = map[string][]string{
	"auth":          {"default", "managed-identity", "workload", "client-secret", "client-certificate", "azcli", "none"},
	"mode":          {"queued", "direct", "streaming", "managed"},
	"protocol":      {"auto", "queue", "rest"},
	"outcomes":      {"table", "peek", "take"},
	"guarantee":     {"exactly-once", "at-least-once"},
	"confirm":       {"ingested", "accepted"},
	"on-bad-record": {"stop", "skip", "dead-letter"},
}

func completionCommand() *command {
	return &command{
		name:     "completion",
		synopsis: completionSynopsis,
		summary:  "print a shell's script that completes commands and flags",
		help: `Prints a script that makes a shell complete the commands, their flags, and the values
of flags that have a choice. It asks this program each time, so it needs not be made
anew with a new version.

Examples:
  kustospool completion bash > /etc/bash_completion.d/kustospool
  kustospool completion zsh > "${fpath[1]}/_kustospool"
  kustospool completion fish > ~/.config/fish/completions/kustospool.fish

Exit codes: 0 printed, 2 there is no script for that shell.`,
		flags: func(*pflag.FlagSet) any { return nil },
		run: func(_ context.Context, c *console, _ any, args []string) (int, error) {
			if len(args) != 1 {
				return 0, usagef("completion takes the name of one shell: %s", completionSynopsis)
			}
			tree := completionTree(c.out)
			switch args[0] {
			case "bash":
				return exitOK, tree.GenBashCompletionV2(c.out, true)
			case "zsh":
				return exitOK, tree.GenZshCompletion(c.out)
			case "fish":
				return exitOK, tree.GenFishCompletion(c.out, true)
			}
			return 0, usagef("completion %q: the shell must be one of %s", args[0], completionSynopsis)
		},
	}
}

// complete answers a script of completion: args are its call.
func complete(c *console, args []string) int {
	tree := completionTree(c.out)
	tree.SetArgs(args)
	if err := tree.Execute(); err != nil {
		return exitUsage
	}
	return exitOK
}

// completionTree is what the commands are to the library that completes them.
// It runs none of them.
func completionTree(out io.Writer) *cobra.Command {
	root := &cobra.Command{Use: "kustospool", SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.SetOut(out)
	root.SetErr(io.Discard)
	for _, cmd := range commands() {
		fs, _ := flagSet(cmd)
		sub := &cobra.Command{Use: cmd.name, Short: cmd.summary, Run: func(*cobra.Command, []string) {}}
		sub.Flags().AddFlagSet(fs)
		for name, values := range choices {
			if fs.Lookup(name) != nil {
				// It fails for a flag that is not there or was given twice.
				_ = sub.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		if cmd.name == "dead" {
			verbs := slices.Sorted(maps.Keys(deadVerbs))
			sub.ValidArgsFunction = func(_ *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
				if len(before) > 0 { // what follows are the names of dead letters
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return verbs, cobra.ShellCompDirectiveNoFileComp
			}
		}
		if cmd.name == "completion" {
			sub.ValidArgs = []string{"bash", "zsh", "fish"}
			sub.Args = cobra.OnlyValidArgs
		}
		root.AddCommand(sub)
	}
	return root
}
