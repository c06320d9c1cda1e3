package consume

// What the tests need to know of the inside.
const (
	MinBatchBytes = minBatchBytes
	SuspectAfter  = suspectAfter
)

// Shards is how many shards are consumed.
func (w *Worker) Shards() int64 { return w.engine.shards.Load() }
