package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kustospool/engine"
	"kustospool/operate"
	"kustospool/transport/transporttest"
)

// closeLog has every write to the log of a spool in use fail: from here on its file can
// be read alone.
func closeLog(t *testing.T, dir string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		path, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if !strings.HasPrefix(path, filepath.Join(dir, "segments")+"/") {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		no, err := strconv.Atoi(fd.Name())
		if err := errors.Join(err, unix.Dup3(int(f.Fd()), no, unix.O_CLOEXEC), f.Close()); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Fatal("the log has no open file")
	}
}

// TestAFailedSpoolIsSeen: nothing else tells an operator of a spool that accepts
// nothing, while nothing waits and every destination is well. Opened again it is well.
func TestAFailedSpoolIsSeen(t *testing.T) {
	dir := t.TempDir()
	s, err := engine.Open(dir, transporttest.NewFake(), soon())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, telemetry, rows(3)...)
	drain(t, s)
	seen := func(s *engine.Spool) ([]operate.Trouble, error) {
		st, err := s.Operator().Status(t.Context(), operate.StatusQuery{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Troubles, s.Stats().Failed
	}
	if found, why := seen(s); why != nil || len(found) != 0 {
		t.Fatalf("a spool that works: %v, %+v", why, found)
	}
	closeLog(t, dir)
	if _, err := s.Ingest(t.Context(), request(telemetry, row(4))); err == nil {
		t.Fatal("a record was stored")
	}
	if _, err := s.Ingest(t.Context(), request(telemetry, row(5))); !errors.Is(err, engine.ErrFailed) {
		t.Fatal(err)
	}
	found, why := seen(s)
	if !errors.Is(why, engine.ErrFailed) || len(found) != 1 || found[0].Kind != operate.SpoolFailed || found[0].Level != operate.Critical || !strings.HasSuffix(found[0].What, why.Error()) {
		t.Errorf("%v, %+v", why, found)
	}
	_ = s.Close() // says what failed
	again := open(t, dir, transporttest.NewFake(), soon())
	if found, why := seen(again); why != nil || len(found) != 0 {
		t.Errorf("opened again: %v, %+v", why, found)
	}
	put(t, again, telemetry, row(6))
}
