// Package version knows which muster this is. It stands below every other package.
package version

import (
	"runtime/debug"
	"time"
)

// version and made, a time of RFC 3339, are set by the linker.
var version, made string

// String gives the version that the binary was built as: from the linker, else from the Go module system, else
// "unknown".
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unknown"
}

// Made gives when the source of the binary was committed: from the linker, else from what the Go tool notes of a
// checkout, else the zero time.
func Made() time.Time {
	text := made
	if info, ok := debug.ReadBuildInfo(); ok && text == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				text = s.Value
			}
		}
	}
	at, _ := time.Parse(time.RFC3339, text) // zero where it is none
	return at
}
