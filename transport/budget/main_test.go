package budget

import (
	"testing"

	"go.uber.org/goleak"

	"kustospool/internal/testutil/crash"
)

func TestMain(m *testing.M) {
	crash.Main(map[string]func(*crash.Child){"spender": spender})
	goleak.VerifyTestMain(m)
}
