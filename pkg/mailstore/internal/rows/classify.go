package rows

import (
	"errors"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Classify wraps an error with what was being done and what to do about it, which classOf knows of its database.
func Classify(op string, err error, classOf func(error) (mailstore.Class, string)) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*mailstore.Error](err); ok {
		return err
	}
	if errors.Is(err, mailstore.ErrNotFound) || errors.Is(err, mailstore.ErrDamaged) {
		return err // an answer, not trouble
	}
	class, hint := classOf(err)
	return &mailstore.Error{Class: class, Op: op, Hint: hint, Err: err}
}
