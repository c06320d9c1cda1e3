package retain_test

import (
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestMain(m *testing.M) { streamtest.Main(m) }
