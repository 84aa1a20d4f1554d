package bus

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"muster/wire"
)

// maxTraced bounds the payload that a trace shows, in bytes.
const maxTraced = 4 << 10

// traced reports whether anybody listens to traces; only then are they made.
func (b *Bus) traced() bool {
	return b.auth.own.Interest(wire.TracePrefix+"request") > 0
}

func (b *Bus) traceRequest(e *wire.EndpointInfo, r micro.Request, caller wire.Caller, isJSON bool) {
	_, subject := cameFrom(r.Subject())
	t := &wire.Trace{Kind: "request", Subject: subject, Identity: caller.Identity, Conn: caller.Conn}
	if !secretive(e) {
		t.Payload = shown(r.Data(), isJSON)
	}
	b.Tell(wire.TracePrefix+t.Kind, t)
}

func (b *Bus) traceAnswer(r micro.Request, caller wire.Caller, err error, took time.Duration) {
	_, subject := cameFrom(r.Subject())
	t := &wire.Trace{
		Kind: "answer", Subject: subject, Identity: caller.Identity, Conn: caller.Conn, Took: wire.InMicros(took),
	}
	if err != nil {
		t.Code = wire.AsError(err).Code
	}
	b.Tell(wire.TracePrefix+t.Kind, t)
}

// traceQuestion shows what is asked of a participant, without what it is handed.
func (b *Bus) traceQuestion(to Peer) {
	if b.traced() {
		b.Tell(wire.TracePrefix+"question", &wire.Trace{Kind: "question", Subject: to.Subject, Identity: to.Identity, Conn: to.Conn})
	}
}

// secretive reports whether payloads of an endpoint may hold secrets: blobs, and data for booked calls.
func secretive(e *wire.EndpointInfo) bool {
	return strings.HasPrefix(e.Subject, "sys.api.blob.") || strings.HasPrefix(e.Subject, "sys.loop.")
}

// shown gives a payload for a trace if it is small and whole.
func shown(data []byte, isJSON bool) wire.Raw {
	if len(data) > maxTraced {
		return nil
	}
	if isJSON {
		raw, err := wire.RawFromJSON(data)
		if err != nil {
			return nil
		}
		return raw
	}
	if raw := wire.Raw(data); raw.Valid() == nil {
		return raw
	}
	return nil
}
