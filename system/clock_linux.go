package system

import (
	"golang.org/x/sys/unix"

	"muster/wire"
)

// monotonic reads CLOCK_BOOTTIME.
func monotonic() wire.MonoMicros {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return wire.MonoMicros(t.Nano() / 1000)
}
