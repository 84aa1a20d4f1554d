package wire

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// CLOCK_BOOTTIME takes a system call, and several times as long as the clocks that Go reads without one. It is ahead
// of Go's monotonic clock by the time that the device was suspended, and each suspend sets the wall clock ahead of the
// monotonic one by as much. So it is read only when the wall clock has been set, by a suspend or by anybody else.

// reading is how the clocks stood to the monotonic one when they were read last.
type reading struct {
	wall time.Duration
	boot time.Duration
}

// epoch is where the monotonic clock is read from.
var epoch = time.Now()

var lastReading atomic.Pointer[reading]

// setBy is how far a clock has to be off to count as set. No suspend is that short.
const setBy = time.Millisecond

func monotonic(now time.Time) MonoMicros {
	mono := now.Sub(epoch)
	wall := time.Duration(now.UnixNano()) - mono
	last := lastReading.Load()
	if last == nil || (wall-last.wall).Abs() > setBy {
		last = last.again(wall)
		lastReading.Store(last)
	}
	return MonoMicros((mono + last.boot) / time.Microsecond)
}

// again reads CLOCK_BOOTTIME anew. Where it stands as it did, the last reading of it goes on to the nanosecond, so that
// the clock does not jump because the wall clock was set.
func (last *reading) again(wall time.Duration) *reading {
	for {
		before := time.Since(epoch)
		boot := bootTime()
		after := time.Since(epoch)
		if after-before > setBy/2 {
			continue // interrupted in between
		}
		boot -= (before + after) / 2
		if last != nil && (boot-last.boot).Abs() < setBy {
			boot = last.boot
		}
		return &reading{wall: wall, boot: boot}
	}
}

// bootTime reads CLOCK_BOOTTIME.
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}
