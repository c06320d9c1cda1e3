package readingtest

import "testing"

// Database is what Store returns.
type Database = Memory

func Store(testing.TB) *Memory { return NewMemory() }
