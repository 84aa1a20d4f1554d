package linux

import (
	"context"
	"strings"

	"muster/wire"
)

// Way is one in which the device can be taken down.
type Way interface {
	Name() string                  // for people
	Can(ctx context.Context) error // nil when the way is open, else why it is not
	// GoDown sets out on it, and returns nil when the device is about to go down. A [*HeldError] says that somebody
	// does not let it.
	GoDown(ctx context.Context, mode wire.RebootMode) error
}

// The names of the ways, in the order in which they are tried where nothing else is said.
const (
	byLogind     = "logind"
	bySystemctl  = "systemctl"
	BySystemCall = "syscall" // nobody else is asked, nothing is stopped; it needs the capability CAP_SYS_BOOT
)

// WayNames lists the names that [Ways] knows.
func WayNames() []string { return []string{byLogind, bySystemctl, BySystemCall} }

// Ways gives the ways of this host by their names. A name that is none is left out.
func Ways(names []string) []Way {
	ways := []Way{}
	for _, name := range names {
		switch name {
		case byLogind:
			ways = append(ways, Logind{})
		case bySystemctl:
			ways = append(ways, Systemctl{})
		case BySystemCall:
			ways = append(ways, bySystemCall{Host{}})
		}
	}
	return ways
}

// HeldError says who keeps the device from going down: each a holder of a lock of logind's, with its reason.
type HeldError struct{ Holders []string }

func (e *HeldError) Error() string {
	return "the device is kept up by " + strings.Join(e.Holders, ", ")
}

// oneLine joins what went wrong in a way that fits a line of the log. What it wraps is err.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return &line{err}
}

// line is an error that is told in one.
type line struct{ error }

func (l *line) Error() string { return strings.ReplaceAll(l.error.Error(), "\n", "; ") }

func (l *line) Unwrap() error { return l.error }
