package dead

import "time"

// RetryAtOnce is what the tests need to know of the inside.
const RetryAtOnce = retryAtOnce

// PollEvery makes a retry ask more often.
func (d *Letters) PollEvery(wait time.Duration) { d.poll = wait }
