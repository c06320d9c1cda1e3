package obs

import (
	"encoding/json"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

func TestLogFormats(t *testing.T) {
	for _, format := range []string{"auto", "json"} {
		var b strings.Builder
		NewLogger(LogConfig{Format: format}, &b).Info("accepted", "size", 3)
		var line map[string]any
		if err := json.Unmarshal([]byte(b.String()), &line); err != nil || line["msg"] != "accepted" || line["size"] != 3.0 {
			t.Errorf("%s: %q, %v", format, &b, err)
		}
	}
	var b strings.Builder
	NewLogger(LogConfig{Format: "text"}, &b).Info("accepted", "size", 3)
	if !strings.Contains(b.String(), "msg=accepted size=3") {
		t.Errorf("text: %q", &b)
	}
}

func TestLogLevel(t *testing.T) {
	var b strings.Builder
	logger := NewLogger(LogConfig{Level: slog.LevelWarn}, &b)
	logger.Info("quiet")
	logger.Warn("loud")
	if strings.Contains(b.String(), "quiet") || !strings.Contains(b.String(), "loud") {
		t.Errorf("got %q", &b)
	}
}

func TestFilesAndPipesAreNoTerminals(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if IsTerminal(file) {
		t.Error("a file is taken for a terminal")
	}
}

func TestBuildInfo(t *testing.T) {
	got := buildInfo(&debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Version: "(devel)"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123"},
			{Key: "vcs.time", Value: "2026-11-24T20:00:00Z"},
			{Key: "vcs.modified", Value: "true"},
		},
	})
	if want := "devel 0123456789ab (modified) 2026-11-24T20:00:00Z go1.26.8"; got.String() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := buildInfo(&debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}}).String(); got != "v1.2.3 go1.26.8" {
		t.Errorf("a release is shown as %q", got)
	}
}
