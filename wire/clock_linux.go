package wire

import "golang.org/x/sys/unix"

func monotonic() MonoMicros {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return MonoMicros(t.Nano() / 1000)
}
