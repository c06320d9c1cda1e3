// Package bucket classifies the errors of NATS key-value buckets.
package bucket

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// IsConflict says whether somebody else changed the entry first.
func IsConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || (errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence)
}
