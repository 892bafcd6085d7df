package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// The commands that say what a spool does with a table, of one in use by its socket and
// of one at rest by its files.

type controlSettings struct {
	lookSettings
	reason string
}

func pauseCommand() *command {
	return controlCommand("pause", "stop the delivery of a table, and keep its records",
		`From then on no batch of the table is sent, also after a restart, until
kustospool resume. Records are accepted, kept on disk and made into batches as before;
they count towards the bound of the spool. An attempt that is under way is finished.
status shows the pause, since when it lasts, and the reason that was given.

TABLE is a table's name, or DB.TABLE.

Examples:
  kustospool pause Readings --spool /var/spool/fleet --reason 'schema change'
  kustospool pause Fleet.Readings --spool /var/spool/fleet --json`,
		func(fs *pflag.FlagSet, s *controlSettings) {
			fs.StringVar(&s.reason, "reason", "", "why, for whoever looks at the spool; at most 256 bytes")
		},
		func(ctx context.Context, c operate.Controller, s *controlSettings, table string) (any, string, error) {
			p, err := c.Pause(ctx, operate.PauseQuery{Table: table, Reason: s.reason})
			if err != nil {
				return nil, "", err
			}
			return p, fmt.Sprintf("%s.%s is paused since %s.", p.Database, p.Table, p.Since.Format(time.RFC3339)), nil
		})
}

func resumeCommand() *command {
	return controlCommand("resume", "deliver a table again that was paused",
		`Ends what kustospool pause began. A process that has the spool open goes on with the
table at once; of a spool at rest, the next one that opens it.

Examples:
  kustospool resume Readings --spool /var/spool/fleet
  kustospool resume Fleet.Readings --to https://ingest-help.westeurope.kusto.windows.net`,
		func(*pflag.FlagSet, *controlSettings) {},
		func(ctx context.Context, c operate.Controller, _ *controlSettings, table string) (any, string, error) {
			r, err := c.Resume(ctx, operate.TableQuery{Table: table})
			if err != nil {
				return nil, "", err
			}
			text := "is resumed"
			if !r.Was {
				text = "was not paused"
			}
			return r, fmt.Sprintf("%s.%s %s.", r.Database, r.Table, text), nil
		})
}

func retryCommand() *command {
	return controlCommand("retry", "try a table now, without waiting for the pause after a failure",
		`After a failure a table, or the whole destination, is tried again after a pause of up to a
minute, or as long as the service asked for. Where its cause was mended, retry ends that
pause: the next attempt is made now. Nothing that was sent is sent twice by it. A spool
that no process has open has no such pauses: the next send or drain tries every table at once.

Examples:
  kustospool retry Readings --spool /var/spool/fleet
  kustospool retry Fleet.Readings --spool /var/spool/fleet --json`,
		func(*pflag.FlagSet, *controlSettings) {},
		func(ctx context.Context, c operate.Controller, _ *controlSettings, table string) (any, string, error) {
			r, err := c.Retry(ctx, operate.TableQuery{Table: table})
			switch {
			case err != nil:
				return nil, "", err
			case !r.InUse:
				return r, fmt.Sprintf("No process has the spool open. The next send or drain tries %s.%s at once (%s).", r.Database, r.Table, batches(r.Batches)), nil
			case r.Batches == 0:
				return r, fmt.Sprintf("No batch of %s.%s waits for an attempt.", r.Database, r.Table), nil
			}
			return r, fmt.Sprintf("%s.%s is tried now (%s).", r.Database, r.Table, batches(r.Batches)), nil
		})
}

func batches(n int64) string {
	if n == 1 {
		return "1 batch waits"
	}
	return fmt.Sprintf("%d batches wait", n)
}

func controlCommand(name, summary, help string, flags func(*pflag.FlagSet, *controlSettings),
	do func(context.Context, operate.Controller, *controlSettings, string) (any, string, error)) *command {
	return &command{
		name:     name,
		synopsis: "TABLE --spool DIR | --to TARGET [flags]",
		summary:  summary,
		help:     help + "\n\nExit codes: 0 done, 1 it failed, 2 the command is wrong, or the spool cannot be had.",
		flags: func(fs *pflag.FlagSet) any {
			s := new(controlSettings)
			flags(fs, s)
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			s := settings.(*controlSettings)
			if len(args) != 1 {
				return 0, usagef("%s takes the name of one table, TABLE or DB.TABLE", name)
			}
			dir, err := s.dir(c)
			if err != nil {
				return 0, err
			}
			shown, text, err := s.control(ctx, dir, func(ctx context.Context, by operate.Controller) (any, string, error) {
				return do(ctx, by, s, args[0])
			})
			if err != nil {
				return 0, err
			}
			if s.json {
				return exitOK, json.NewEncoder(c.out).Encode(shown)
			}
			_, err = fmt.Fprintln(c.out, visible.String(text))
			return exitOK, err
		},
	}
}

// control does something with the spool at rest, or has the process do it that has it open.
func (s *lookSettings) control(ctx context.Context, dir string, do func(context.Context, operate.Controller) (any, string, error)) (shown any, text string, err error) {
	shown, text, err = do(ctx, engine.ControlAtRest(dir, &engine.Options{TrustDirectory: s.trust, LockTimeout: max(s.lock, 1), Logger: slog.New(slog.DiscardHandler)}))
	locked, ok := errors.AsType[*engine.LockedError](err)
	if !ok {
		return shown, text, err
	}
	client, err := s.owner(ctx, locked)
	if err != nil {
		return nil, "", err
	}
	defer client.Close()
	return do(ctx, client)
}

// owner is the process that has a spool open.
func (s *lookSettings) owner(ctx context.Context, locked *engine.LockedError) (*operate.Client, error) {
	if locked.Socket == "" {
		return nil, refusedError{fmt.Errorf("%w; it cannot be asked about it: it has no socket (an older version, or engine.Options.NoSocket); a spool in use is not read: stop that process, or wait for its end", locked)}
	}
	client, err := operate.Dial(ctx, locked.Socket)
	if err != nil {
		return nil, refusedError{fmt.Errorf("%w; it cannot be asked about it: %w; stop that process, or wait for its end", locked, err)}
	}
	return client, nil
}
