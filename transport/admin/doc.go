// Package admin creates what an ingestion needs at the service: tables, their
// ingestion mappings, and the policies that decide how soon data arrives.
//
//	client, err := admin.NewClient("https://cluster.region.kusto.windows.net", cred, nil)
//	columns, err := admin.ParseColumns("ts:datetime,vessel:string,knots:real")
//	err = client.CreateTable(ctx, "Fleet", admin.Table{Name: "Readings", Columns: columns})
//
// # Promise
//
// Every command can be repeated: a table is created or gets the columns that it
// lacks (`.create-merge table`), and never loses one or changes its type; a
// mapping is created or replaced; a policy is set. Names, types, mappings and
// policies are checked before anything is sent, and none can break out of its
// place in a command.
//
// # Failure
//
// Broken rules match [kustospool/ingest.ErrInvalid], all of them at once. Every
// other error is a *[kustospool/transport.Error]: Unauthorized when there is no
// valid credential, Held with the role that is missing when the service refuses
// the principal or does not know the database or table, Permanent when it
// refuses the command, Unknown when the reply was lost (repeat it), and
// Transient or Throttled otherwise. No text holds a secret.
//
// # What it does not do
//
// It retries nothing, drops nothing, and creates no database. The service may
// take minutes to tell a new table or mapping to its ingestion nodes; a spool
// waits for that by itself.
package admin
