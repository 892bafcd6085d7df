// Command kustospool stores records on disk and delivers them to Azure Data
// Explorer (Kusto), for as long as that takes.
//
//	kustospool send        spool files or standard input, deliver, and report
//	kustospool drain       deliver what a spool holds
//	kustospool status      show what a spool holds, since when and why, without a network
//	kustospool peek        show the records of a table that wait in a spool
//	kustospool history     show the batches of a spool that are settled, and how
//	kustospool check       read all of a spool and tell what is damaged
//	kustospool dead        list, show, export, retry or drop the dead letters of a spool
//	kustospool salvage     take what can be read from files that were set aside
//	kustospool pause       stop the delivery of a table, and keep its records
//	kustospool resume      deliver a table again that was paused
//	kustospool retry       try a table now, without waiting for the pause after a failure
//	kustospool serve       show a spool in a browser, beside the program that owns it
//	kustospool sim         run a simulated service to try things out on
//	kustospool completion  print a shell's script that completes commands and flags
//	kustospool version     print the version of the program and of its spools
//
// Each flag can be given on the command line, by an environment variable or in a
// file, and counts in that order: kustospool help configuration.
//
// # What is promised
//
// Input that breaks a rule is refused before anything of it is stored, as far
// as it can be read twice: files are, pipes are not. What the report counts as
// acked survives the end of the process, however it comes. The first interrupt
// stops politely: nothing new is read, the spool is closed, the report is
// printed. The second ends the process at once, which loses nothing that was
// acked either.
//
// A run that was cut is continued by the same command: what of a file is stored
// is remembered in the spool, in the same commit as the records. Of pipes and of
// blobs nothing is remembered.
//
// Exit codes: 0 all is ingested (with --no-wait: durable); 1 something was
// dead-lettered or dropped, or failed; 2 the command or its input is wrong, or
// the spool cannot be had, and this run stored nothing; 3 the records are
// durable, and not all are delivered yet; 4 a part of the input is stored and
// the rest is not; 5 an input changed while it was read. What was not stored
// counts for more than what became of the rest: 5 and 4 come before 1, and 1
// before 3.
//
// A run does not hang: --timeout bounds what it waits for the target, be it
// for delivery or for room in a full spool, and it ends by itself when all that
// it waits for needs an operator.
//
// # Output
//
// The report goes to standard output, as aligned lines or as one JSON object;
// progress, hints and errors go to standard error, and with -q errors alone. No
// secret is taken from a flag or printed.
//
// # What it does not do
//
// It creates tables and mappings only where a flag asks for it, and does not ingest in the background: a
// program that ingests all the time embeds the package engine.
package main
