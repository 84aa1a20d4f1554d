// Package linux is the platform of a real device: its clock, and the ways in which it goes down.
//
// A [Platform] sets the clock by the system calls, a step or, below half a second, a slew. It takes the device down by
// the first of its ways that does not fail: logind, systemctl, and the system call itself. A lock that somebody else
// holds at logind is no failure but a no: it ends the attempt. A [Lock] keeps logind from taking the device down past
// the system's notifiers. A [Watchdog] feeds the timer that resets the device when the daemon hangs.
//
// Whatever touches the host stands behind a small interface ([Kernel], [Way], [Logind], [Timer]), so that tests see what would
// have happened. The package knows [muster/system] and [muster/wire], the kernel, and D-Bus; nothing of NATS.
package linux
