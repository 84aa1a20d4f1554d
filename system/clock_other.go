//go:build !linux

package system

import (
	"time"

	"muster/wire"
)

var processStart = time.Now()

// monotonic counts from the start of the process, where the system has no clock that counts suspend.
func monotonic() wire.MonoMicros { return wire.MonoMicros(time.Since(processStart).Microseconds()) }
