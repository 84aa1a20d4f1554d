package linux

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// wakeLatency reads how long the first processor takes to wake from the deepest of its sleeps that is not disabled. A
// machine that tells nothing, as most virtual ones, has none.
func wakeLatency(sys fs.FS) time.Duration {
	var longest uint64
	sleeps, _ := fs.Glob(sys, "devices/system/cpu/cpu0/cpuidle/state*") // the pattern is well formed
	for _, sleep := range sleeps {
		if number(sys, sleep+"/disable") == 0 {
			longest = max(longest, number(sys, sleep+"/latency"))
		}
	}
	return time.Duration(min(longest, uint64(time.Hour/time.Microsecond))) * time.Microsecond
}

// number reads a file that holds one; where there is none it is 0.
func number(sys fs.FS, name string) uint64 {
	text, err := fs.ReadFile(sys, name)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}
