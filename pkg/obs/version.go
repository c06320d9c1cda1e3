package obs

import (
	"runtime/debug"
	"strings"
)

// BuildInfo says which code is running.
type BuildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

// Version reads what the Go tool has stamped into the binary. Without a repository around it at build time (a Docker
// build context without .git) the revision is unknown.
func Version() BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return BuildInfo{Version: "unknown"}
	}
	return buildInfo(info)
}

func buildInfo(info *debug.BuildInfo) BuildInfo {
	b := BuildInfo{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is one line for -version.
func (b BuildInfo) String() string {
	parts := []string{b.Version}
	if b.Revision != "" {
		revision := b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			revision += " (modified)"
		}
		parts = append(parts, revision)
	}
	for _, s := range []string{b.Time, b.Go} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}
