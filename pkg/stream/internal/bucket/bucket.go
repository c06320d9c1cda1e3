// Package bucket has what every user of a key-value bucket asks of its errors.
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
