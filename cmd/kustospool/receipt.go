package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"kustospool/internal/visible"
	"kustospool/operate"
)

// writeReceipt tells what became of the records of a receipt.
func writeReceipt(w io.Writer, r *operate.Receipt) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "receipt\t%s\ntable\t%s\nrecords\t%d\n", r.Receipt, visible.String(r.Table), r.Records)
	for i := range r.Parts {
		f := &r.Parts[i]
		fmt.Fprintf(t, "%s\t%d from number %d on", f.State, f.Records, f.Number)
		switch b := f.Batch; {
		case b != nil:
			fmt.Fprintf(t, ", batch %s of %s, attempts %d, at %s", b.ID, count(b.Records, "record"), b.Attempts, b.Updated.Format(time.RFC3339))
			if b.Failure != nil {
				fmt.Fprintf(t, ": %s", visible.String(b.Failure.String()))
			}
		case f.State == operate.Forgotten:
			fmt.Fprint(t, ": settled, and the history does not say how any more")
		}
		fmt.Fprintln(t)
	}
	if r.More > 0 {
		fmt.Fprintf(t, "and %d more parts\t\n", r.More)
	}
	return t.Flush()
}
