package queued

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(childVariable); kind != "" {
		os.Exit(uploadChild(kind))
	}
	goleak.VerifyTestMain(m)
}
