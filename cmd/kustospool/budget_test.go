package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
)

// What passes to a cluster is counted in the spool, and a budget that is used up
// leaves records there, with the reason.
func TestBudgetFlags(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{AutoCreate: true})
	dir := filepath.Join(t.TempDir(), "spool")
	in := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(in, []byte("{\"n\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(more ...string) result {
		args := []string{"send", "--to", sim.Endpoint(), "--auth", "none", "--spool", dir, "--database", "Demo", "--table", "T", "--again", "--json", in}
		return kustospool(t, "", append(args, more...)...)
	}
	got := send("--budget-day", "1MB")
	if got.code != exitOK || !strings.Contains(got.out, "budget_day_used") {
		t.Fatalf("%+v", got)
	}
	if info, err := os.Stat(filepath.Join(dir, budgetFile)); err != nil || info.Size() == 0 {
		t.Fatalf("%v", err)
	}
	// As damaged as used up.
	if err := os.WriteFile(filepath.Join(dir, budgetFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got = send("--budget-day", "1MB", "--timeout", "1s"); got.code != exitPending || !strings.Contains(got.stderr, "delete the file") {
		t.Errorf("%+v", got)
	}
	if n := sim.Count("Demo", "T"); n != 1 {
		t.Errorf("%d rows", n)
	}
	for _, bad := range [][]string{
		{"--budget-day", "1"}, {"--window", "22:00"}, {"--budget-month", "1MB", "--create-table", "n:int"},
	} {
		if got := send(bad...); got.code != exitUsage {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	if got := kustospool(t, "", "send", "--to", "sim:", "--database", "Demo", "--table", "T", "--budget-day", "1MB", in); got.code != exitUsage || !strings.Contains(got.stderr, "to a cluster") {
		t.Errorf("%+v", got)
	}
}
