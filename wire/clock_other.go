//go:build !linux

package wire

import "time"

// processStart stands in for the start of the device where there is no clock that counts suspend.
var processStart = time.Now()

func monotonic(now time.Time) MonoMicros { return MonoMicros(now.Sub(processStart).Microseconds()) }
