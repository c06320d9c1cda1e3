package services_test

import (
	"os"
	"strings"
	"testing"
)

// An audit by another retention than the storer's would call expired mail missing.
func TestSluicectlOfComposeHasTheStorersRetention(t *testing.T) {
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	retention := func(service string) string {
		_, after, found := strings.Cut(string(text), "\n  "+service+":\n")
		if !found {
			t.Fatalf("docker-compose.yml has no service %s", service)
		}
		for line := range strings.SplitSeq(after, "\n") {
			if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "   ") {
				break // the next service
			}
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "STORER_RETENTION: "); ok {
				return strings.TrimSpace(strings.Split(value, " #")[0])
			}
		}
		return ""
	}
	if storer, ctl := retention("storer"), retention("sluicectl"); storer == "" || storer != ctl {
		t.Errorf("the storer has STORER_RETENTION %q, sluicectl %q", storer, ctl)
	}
}
