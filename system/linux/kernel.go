package linux

import (
	"context"
	"errors"
	"time"

	"muster/wire"
)

// Kernel is what the platform wants of the kernel. An error for want of a right is [fs.ErrPermission].
type Kernel interface {
	May(capability int) bool           // whether this process has that capability
	Step(to time.Time) error           // the wall clock
	Slew(by time.Duration) error       // the wall clock, bit by bit
	GoDown(mode wire.RebootMode) error // at once, once everything is on disk; returns only what went wrong
}

// The numbers of capabilities, as in linux/capability.h.
const (
	capSysBoot = 22
	capSysTime = 25
)

// bySystemCall is the last way to go down: nobody else is asked, nothing is stopped.
type bySystemCall struct{ kernel Kernel }

// Name implements [Way].
func (bySystemCall) Name() string { return "system call" }

// Can implements [Way].
func (w bySystemCall) Can(context.Context) error {
	if !w.kernel.May(capSysBoot) {
		return errors.New("it needs the capability CAP_SYS_BOOT")
	}
	return nil
}

// GoDown implements [Way].
func (w bySystemCall) GoDown(ctx context.Context, mode wire.RebootMode) error {
	if err := w.Can(ctx); err != nil {
		return err
	}
	return w.kernel.GoDown(mode)
}
