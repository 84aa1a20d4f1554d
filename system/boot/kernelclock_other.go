//go:build !linux

package boot

import (
	"errors"
	"fmt"
	"runtime"
)

// KernelClock knows the clocks of Linux only.
type KernelClock struct{}

// Look implements [ClockSource].
func (KernelClock) Look() (ClockLook, error) {
	return ClockLook{}, fmt.Errorf("is it synchronised, on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
