//go:build !linux

package linux

import (
	"errors"
	"time"

	"muster/wire"
)

// Host is a kernel that is not Linux, on which the platform can do nothing.
type Host struct{}

// May implements [Kernel].
func (Host) May(int) bool { return false }

// Step implements [Kernel].
func (Host) Step(time.Time) error { return errors.ErrUnsupported }

// Slew implements [Kernel].
func (Host) Slew(time.Duration) error { return errors.ErrUnsupported }

// GoDown implements [Kernel].
func (Host) GoDown(wire.RebootMode) error { return errors.ErrUnsupported }
