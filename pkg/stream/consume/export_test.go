package consume

import "github.com/sluice-mail/sluice/pkg/stream/internal/settle"

// What the tests need to know of the inside.
const (
	MinBatchBytes = minBatchBytes
	SuspectAfter  = settle.SuspectAfter
)

// Shards is how many shards are consumed.
func (w *Worker) Shards() int64 { return w.engine.shards.Load() }
