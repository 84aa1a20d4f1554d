package bus

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/time/rate"

	"muster/wire"
)

// Bounds are what one identity may use of the bus, administrators excepted; zero means the default.
type Bounds struct {
	Connections   int // at the same time; 64
	Subscriptions int // of all of its connections; 16384
	Requests      int // a second, with as many again in a burst; 2000
	Bytes         int // of requests a second, with as many again in a burst; 8 MiB
}

func (b Bounds) orDefault() Bounds {
	set := func(value *int, fallback int) {
		if *value == 0 {
			*value = fallback
		}
	}
	set(&b.Connections, 64)
	set(&b.Subscriptions, 16384)
	set(&b.Requests, 2000)
	set(&b.Bytes, 8<<20)
	return b
}

// pace is what an identity has left of its requests and bytes.
type pace struct {
	requests, bytes *rate.Limiter
}

func newPace(b Bounds) *pace {
	return &pace{
		requests: rate.NewLimiter(rate.Limit(b.Requests), 2*b.Requests),
		bytes:    rate.NewLimiter(rate.Limit(b.Bytes), max(2*b.Bytes, wire.MaxPayload)),
	}
}

// take counts a request, or says that there were too many.
func (p *pace) take(size int) error {
	now := time.Now()
	if !p.requests.AllowN(now, 1) {
		return wire.Errorf(wire.CodeTooMany, "more than %v requests a second; wait a little", p.requests.Limit())
	}
	if !p.bytes.AllowN(now, size) {
		return wire.Errorf(wire.CodeTooMany, "more than %v bytes of requests a second; wait a little", p.bytes.Limit())
	}
	return nil
}

// watchBounds closes, each second, the largest connection of an identity that has more subscriptions than it may: the
// server itself bounds only those of a connection.
func (b *Bus) watchBounds() {
	for b.rest(time.Second) {
		for _, account := range b.auth.crowded() {
			z, err := b.server.Connz(&server.ConnzOptions{Account: account, Sort: server.BySubs, Limit: 1})
			if err != nil || len(z.Conns) == 0 {
				continue
			}
			largest := z.Conns[0]
			b.log.Warn("connection closed, for its identity has too many subscriptions", "identity", largest.AuthorizedUser,
				"conn", largest.Cid, "subscriptions", largest.NumSubs, "most", b.opts.Bounds.Subscriptions)
			_ = b.server.DisconnectClientByID(largest.Cid) // it may have gone by itself
		}
	}
}
