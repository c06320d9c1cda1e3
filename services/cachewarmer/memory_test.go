package cachewarmer

import "testing"

func TestGarbageCollectionAsTheUserHasSetIt(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	if n := len(unused()); n != unusedBytes {
		t.Errorf("without settings %d unused bytes", n)
	}
	for name, value := range map[string]string{"GOGC": "50", "GOMEMLIMIT": "32MiB"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if n := len(unused()); n != 0 {
				t.Errorf("%d unused bytes", n)
			}
		})
	}
}
