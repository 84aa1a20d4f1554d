package bus

import (
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"muster/wire"
)

// tracing sends traces while somebody listens, and no faster than he reads: when a listener has too much waiting, they
// are dropped, for all listeners, and the next one that is sent says how many were.
type tracing struct {
	mu      sync.Mutex
	sent    int       // bytes since the listeners were looked at
	looked  time.Time // when that was
	dropped uint64    // since the last one that was sent
}

const (
	maxTraced   = 4 << 10               // bytes of a payload that a trace shows
	traceWindow = 1 << 20               // bytes that are sent before the listeners are looked at, and that one may have waiting
	tracePause  = 10 * time.Millisecond // before slow listeners are looked at again
)

// traced reports whether anybody listens to traces; only then are they made.
func (b *Bus) traced() bool {
	return b.auth.own.Interest(wire.TracePrefix+"request") > 0
}

func (b *Bus) trace(t *wire.Trace) {
	s := &b.tracing
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent >= traceWindow {
		if time.Since(s.looked) < tracePause || b.tracersSlow() {
			s.dropped++
			return
		}
		s.sent = 0
	}
	t.Dropped, s.dropped = s.dropped, 0
	s.sent += b.tell(wire.TracePrefix+string(t.Kind), t)
}

// tracersSlow looks how much waits for those who listen to traces.
func (b *Bus) tracersSlow() bool {
	b.tracing.looked = time.Now()
	z, err := b.server.Subsz(&server.SubszOptions{Subscriptions: true, Test: wire.TracePrefix + "request", Limit: maxConnections})
	if err != nil {
		return true
	}
	for _, sub := range z.Subs {
		c, err := b.server.Connz(&server.ConnzOptions{CID: sub.Cid})
		if err == nil && len(c.Conns) == 1 && c.Conns[0].Pending > traceWindow {
			return true
		}
	}
	return false
}

func (b *Bus) traceRequest(r *request) {
	b.trace(&wire.Trace{
		Kind: wire.TraceRequest, Subject: r.subject, Identity: r.caller.Identity, Conn: r.caller.Conn, Payload: shown(r.Data(), r.format),
	})
}

func (b *Bus) traceAnswer(r *request, result any, err error) {
	t := &wire.Trace{
		Kind: wire.TraceAnswer, Subject: r.subject, Identity: r.caller.Identity, Conn: r.caller.Conn, Took: wire.InMicros(time.Since(r.began)),
	}
	if err != nil {
		t.Code = wire.AsError(err).Code
		result = wire.AsError(err)
	}
	if data, err := wire.Encode(result); err == nil {
		t.Payload = shown(data, wire.FormatMsgpack)
	}
	b.trace(t)
}

// traceQuestion shows what is asked of a participant.
func (b *Bus) traceQuestion(to Peer, payload []byte) {
	b.trace(&wire.Trace{
		Kind: wire.TraceQuestion, Subject: to.Subject, Identity: to.Identity, Conn: to.Conn, Payload: shown(payload, to.Format),
	})
}

// traceReply shows what a participant answered. What a call results in is between it and its booker.
func (b *Bus) traceReply(q *question, m *nats.Msg) {
	t := &wire.Trace{
		Kind: wire.TraceAnswer, Subject: q.to.Subject, Identity: q.to.Identity, Conn: q.to.Conn, Took: wire.InMicros(time.Since(q.asked)),
	}
	if err := refusal(m); err != nil {
		t.Code = wire.AsError(err).Code
	} else if strings.HasPrefix(q.to.Subject, wire.NotifyPrefix) {
		t.Payload = shown(m.Data, q.to.Format)
	}
	b.trace(t)
}

// secrets are the keys, in whatever message, that a trace leaves out: the content of a blob, what a call is handed, what
// proves a registration to be the same participant's, and that of a ticket.
var secrets = []string{"data", "session", "password"}

// shown gives a payload for a trace if it is small and whole, without its secrets; nothing if nothing else is in it.
func shown(data []byte, form wire.Format) wire.Raw {
	var fields map[string]any
	raw, err := form.Raw(data)
	if err != nil || len(raw) > wire.MaxRequest || wire.Decode(raw, &fields) != nil {
		return nil
	}
	all := len(fields)
	for _, key := range secrets {
		delete(fields, key)
	}
	if len(fields) < all {
		if raw, err = wire.RawOf(fields); err != nil {
			return nil
		}
	}
	if len(fields) == 0 || len(raw) > maxTraced {
		return nil
	}
	return raw
}
