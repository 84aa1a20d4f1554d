package boot

import (
	"context"
	"log/slog"
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

// Wisher takes a wish for a state. [system.Machine] is one.
type Wisher interface {
	Request(ctx context.Context, caller wire.Caller, w wire.StateWish) (wire.StateOutcome, error)
}

// Teller sends an event, stamped. Nobody waits for it.
type Teller interface {
	Tell(subject string, event wire.Stamped)
}

// Change is an event of class NETWORK: something was, and is now, and why.
type Change struct {
	wire.Stamp
	Interface string `json:"interface,omitempty"` // on which it is
	Old       string `json:"old"`
	New       string `json:"new"`
	Reason    string `json:"reason,omitempty"`
	Degraded  bool   `json:"degraded,omitempty"` // the device goes on without it
	Digest    string `json:"digest,omitempty"`   // of what New names, its SHA-256 in hexadecimal digits
	Origin    string `json:"origin,omitempty"`   // where New is from
}

// resume tells the machine that a part has something else to say now.
func resume(ctx context.Context, gate Gate, name string, log *slog.Logger) {
	_, err := gate.Resume(ctx, wire.Internal, wire.Resume{Notifier: name})
	if err != nil && ctx.Err() == nil {
		log.Warn("not resumed; the question comes again by itself", "notifier", name, "error", err)
	}
}

// accepted is the answer that the device may move.
var accepted = wire.Answer{Answer: wire.Accept}

// deferred is the answer that it may not, until a resume.
func deferred(reason string) wire.Answer { return wire.Answer{Answer: wire.Defer, Reason: reason} }

// deferredFor is the answer that it may not, and is to be asked again after a time.
func deferredFor(reason string, retry time.Duration) wire.Answer {
	return wire.Answer{Answer: wire.Defer, Reason: reason, Retry: min(max(wire.InMicros(retry), wire.MinRetry), wire.MaxRetry)}
}
