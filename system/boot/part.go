package boot

import (
	"context"
	"time"

	"muster/system"
	"muster/wire"
)

// Part is one notifier that is built in. Its caller adds the notifier to the machine and owns the goroutine of Run, which
// returns when there is nothing more to do or ctx is done, and not before nothing of the part is left running.
type Part interface {
	Notifier() system.Notifier
	Run(ctx context.Context) error
}

// Gate takes a notifier's word that it holds no longer. [system.Machine] is one.
type Gate interface {
	Resume(ctx context.Context, caller wire.Caller, r wire.Resume) (wire.Resumed, error)
}

// accepted is the answer that the device may move.
var accepted = wire.Answer{Answer: wire.Accept}

// deferred is the answer that it may not, until a resume.
func deferred(reason string) wire.Answer { return wire.Answer{Answer: wire.Defer, Reason: reason} }

// deferredFor is the answer that it may not, and is to be asked again after a time.
func deferredFor(reason string, retry time.Duration) wire.Answer {
	return wire.Answer{Answer: wire.Defer, Reason: reason, Retry: min(max(wire.InMicros(retry), wire.MinRetry), wire.MaxRetry)}
}
