package main

import (
	"context"

	"github.com/spf13/pflag"

	"kustospool/engine"
)

func drainCommand() *command {
	return &command{
		name:     "drain",
		synopsis: "--to TARGET [--spool DIR] [flags]",
		summary:  "deliver what a spool holds",
		help: `Opens a spool that an earlier send has left behind, delivers what it holds and
waits for the outcome. Without --spool it is the target's default one.

Blobs that an earlier send was given with a SAS are fetched with one in
KUSTOSPOOL_BLOB_SAS, because none is stored: see kustospool help send.

Examples:
  kustospool drain --to https://ingest-help.westeurope.kusto.windows.net
  kustospool drain --to dir:/media/usb --spool /var/spool/fleet --timeout 10m

Exit codes: 0 nothing is left to deliver, 1 something was dead-lettered or failed,
2 the command is wrong or the spool cannot be had, 3 not all is delivered yet.
Dead letters of earlier runs are told and do not count.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(deliverySettings)
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return drain(ctx, c, settings.(*deliverySettings), args)
		},
	}
}

func drain(ctx context.Context, c *console, s *deliverySettings, args []string) (int, error) {
	if len(args) > 0 {
		return 0, usagef("drain takes no files; the spool is named with --spool")
	}
	t, err := parseTarget(s.to)
	if err != nil {
		return 0, err
	}
	c.quiet = s.quiet
	opts, err := s.options(c.err, engine.TableName{})
	if err != nil {
		return 0, err
	}
	dir := s.spool
	if dir == "" {
		if t.kind == toSimulator {
			return 0, usagef("--spool is missing: sim: has no spool of its own between runs")
		}
		if dir, err = t.defaultSpool(); err != nil {
			return 0, err
		}
	}
	if err := mustBeSpool(dir); err != nil {
		return 0, err
	}
	blobs, err := newBlobInputs()
	if err != nil {
		return 0, err
	}
	dest, err := reach(t, s, "", "", blobs)
	if err != nil {
		return 0, err
	}
	x, err := openSession(ctx, c, s, dest, opts)
	if err != nil {
		return 0, err
	}
	why, err := x.deliver(ctx)
	return x.finish(report{}, outcome{why: why, err: err})
}
