package demote

import "strings"

// Set is a set of capabilities: the bit of each is its number in linux/capability.h.
type Set uint64

// The capabilities that can be kept.
const (
	SysBoot Set = 1 << 22 // to take the device down by the system call
	SysTime Set = 1 << 25 // to set the clock
)

// String names the capabilities as the kernel's manual does; the empty set is "none".
func (s Set) String() string {
	var names []string
	for _, known := range []struct {
		set  Set
		name string
	}{{SysBoot, "CAP_SYS_BOOT"}, {SysTime, "CAP_SYS_TIME"}} {
		if s&known.set != 0 {
			names = append(names, known.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
