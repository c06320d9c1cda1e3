package settle

// Verdict is what a handler decided about one mail. The zero value is none.
type Verdict struct {
	kind   verdictKind
	err    error
	reason string
}

type verdictKind uint8

const (
	noVerdict verdictKind = iota
	done
	retry
	dead
)

// Done, Retry and Dead: see package consume.
func Done() Verdict { return Verdict{kind: done} }

// Retry: see Done.
func Retry(err error) Verdict { return Verdict{kind: retry, err: err} }

// Dead: see Done.
func Dead(reason string) Verdict { return Verdict{kind: dead, reason: reason} }

// None says that there is no verdict.
func (v Verdict) None() bool { return v.kind == noVerdict }
