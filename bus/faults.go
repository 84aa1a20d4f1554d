package bus

import "muster/wire"

// fault is what goes wrong with requests, by who did it and how.
type fault struct {
	identity string
	subject  string // of the endpoint, of which there are few
	code     wire.Code
}

// note counts a request that failed or was dropped.
func (b *Bus) note(identity, subject string, err error) {
	e := wire.AsError(err)
	if n, worthLine := b.faults.add(fault{identity, subject, e.Code}); worthLine {
		b.log.Info("request failed", "identity", identity, "subject", subject, "code", int(e.Code), "why", e.Message, "count", n)
	}
}

// refuse counts a connection that was not let in.
func (b *Bus) refuse(who string, err error) {
	if n, worthLine := b.faults.add(fault{who, "connect", wire.CodeForbidden}); worthLine {
		b.log.Warn("connection refused", "who", who, "why", err, "count", n)
	}
}

// Faults counts the requests that failed or were dropped so far.
func (b *Bus) Faults() uint64 { return b.faults.sum() }
