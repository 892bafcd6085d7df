// Command kustospool stores records on disk and delivers them to Azure Data
// Explorer (Kusto), for as long as that takes.
//
//	kustospool send      spool files or standard input, deliver, and report
//	kustospool drain     deliver what a spool holds
//	kustospool status    show what a spool holds, without a network
//	kustospool sim       run a simulated service to try things out on
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
// Exit codes: 0 all is ingested (with --no-wait: durable); 1 something was
// dead-lettered or dropped, or failed; 2 the command or its input is wrong and
// nothing was stored; 3 the records are durable, and not all are delivered yet.
//
// # Output
//
// The report goes to standard output, as aligned lines or as one JSON object;
// progress, hints and errors go to standard error. No secret is taken from a
// flag or printed.
//
// # What it does not do
//
// It creates no tables and no mappings, and does not run in the background: a
// program that ingests all the time embeds the package engine.
package main
