// Package statushttp shows a spool in a browser: what waits and since when, how
// it went over the last day, what is wrong and what to do about it, and the dead
// letters. A program embeds it as an [http.Handler]; `kustospool serve` is one.
//
//	page, err := statushttp.New(spool.Operator(), nil)
//	http.Handle("/spool/", http.StripPrefix("/spool", page))
//
// # What it promises
//
// The spool never waits for who looks. One goroutine asks for the status, once
// each [Options].Every and one question at a time, each with a timeout; pages and
// streams show its last answer, made into HTML once for all who look. What a
// reader asks beside that (a dead letter, the protocol below v1/) is bounded in
// number and in time.
//
// Nobody changes anything unless [Options].Actions allows it, and nobody who is not
// on this machine sees anything without [Options].Token. A name that the page
// was not told to answer to is refused, so that no foreign site can point its
// name here; so is what a page of another origin sends. The header fields of
// proxies (Forwarded, X-Forwarded-For) are not believed.
//
// Whatever comes from records, names or the service is text: escaped, cut to a
// bound, and with control characters made visible. The pages need no script, no
// style and no picture from elsewhere, and say so to the browser
// (Content-Security-Policy). They work without JavaScript, by reload.
//
// # Failure
//
// A spool that does not answer is told on the page, with since when; what is known
// of the time before stays, and the page goes on when the spool is back. A stream
// whose reader does not read is ended after ten seconds. An action that fails
// says so and is not repeated.
//
// # What it does not do
//
// It keeps nothing on disk: the history begins with the process. It has no users
// and no roles, only one token. It has no TLS: that is the server's. It takes no
// records in, and mends none: see `kustospool dead`.
//
// # Routes
//
// All are relative to where the page is mounted. Those that POST need Actions, and
// a form of this page.
//
//	GET  .              the page; ?range=15m or 24h for the charts
//	GET  events         server-sent events: the parts of the page, at each look
//	GET  dead/          all dead letters; ?after=ID goes on
//	GET  dead/ID        one dead letter, its records and what a retry would do
//	GET  dead/ID/drop   asks whether it is really to be dropped
//	GET  pause          asks which table is to be paused, and why; ?table=DB.TABLE
//	POST do/pause, do/resume, do/retry, do/dead-retry, do/dead-drop
//	GET  login, POST login, POST logout
//	GET  healthz        200 where the spool answered lately, otherwise 503
//	GET  readyz         200 where it is also in use and has no critical trouble
//	     v1/...         the protocol of package operate, as JSON
package statushttp
