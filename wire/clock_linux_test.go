package wire

import (
	"testing"
	"time"
)

// near holds the clock against the system call.
func near(t *testing.T, what string) {
	t.Helper()
	before := MonoMicros(bootTime() / time.Microsecond)
	_, got := Now()
	after := MonoMicros(bootTime() / time.Microsecond)
	if slack := MonoMicros(setBy / time.Microsecond); got < before-slack || got > after+slack {
		t.Errorf("%s: %d, CLOCK_BOOTTIME went from %d to %d", what, got, before, after)
	}
}

func TestMonotonicIsBootTime(t *testing.T) {
	near(t, "at first")
	kept := *lastReading.Load()
	defer lastReading.Store(&kept)

	near(t, "from a reading")
	if got := lastReading.Load(); *got != kept {
		t.Errorf("read anew for no reason: %+v, %+v", kept, got)
	}

	// Somebody set the wall clock by an hour: it is read anew, and has not moved.
	lastReading.Store(&reading{wall: kept.wall - time.Hour, boot: kept.boot})
	near(t, "after the wall clock was set")
	if got := lastReading.Load(); got.boot != kept.boot || (got.wall-kept.wall).Abs() > setBy {
		t.Errorf("after the wall clock was set: %+v, before %+v", got, kept)
	}

	// The device was suspended for a minute: both clocks have moved on.
	lastReading.Store(&reading{wall: kept.wall - time.Minute, boot: kept.boot - time.Minute})
	near(t, "after a suspend")
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
