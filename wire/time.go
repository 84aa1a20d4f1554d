package wire

import (
	"math"
	"time"
)

// Micros is a duration in microseconds: the keys that end in _us.
type Micros int64

// UnixMicros is a point of the wall clock in microseconds since 1970: the keys that end in _at_us.
// The wall clock jumps when the system learns the time.
type UnixMicros int64

// MonoMicros is a point of the clock that never jumps and counts suspend too (CLOCK_BOOTTIME), in
// microseconds: the keys that end in _mono_us.
type MonoMicros int64

// InMicros gives d in whole microseconds.
func InMicros(d time.Duration) Micros { return Micros(d / time.Microsecond) }

// Duration gives m as Go counts it, at most the longest that Go can say (292 years).
func (m Micros) Duration() time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)
	return time.Duration(min(max(int64(m), -most), most)) * time.Microsecond
}

// At gives the point of the wall clock that t is.
func At(t time.Time) UnixMicros { return UnixMicros(t.UnixMicro()) }

// Time gives the point as Go's time, in UTC.
func (u UnixMicros) Time() time.Time { return time.UnixMicro(int64(u)).UTC() }

// Sub gives the time from earlier to m.
func (m MonoMicros) Sub(earlier MonoMicros) time.Duration { return Micros(m - earlier).Duration() }

// Now reads both clocks of this machine.
func Now() (UnixMicros, MonoMicros) {
	now := time.Now()
	return At(now), monotonic(now)
}
