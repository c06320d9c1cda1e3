package consume_test

import (
	"os"
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childOf) != "" {
		child()
		return
	}
	streamtest.Main(m)
}
