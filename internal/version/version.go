// Package version knows which muster this is. It stands below every other package.
package version

import "runtime/debug"

// version is set by the linker.
var version string

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
