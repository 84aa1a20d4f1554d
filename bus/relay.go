package bus

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"muster/access"
	"muster/wire"
)

// maxRelayed bounds the messages that wait to be handed on, and their bytes; what comes above is lost, as the protocol
// says of such messages.
const (
	maxRelayed      = 8192
	maxRelayedBytes = 16 << 20
)

// relay hands on what participants tell each other (SMD). The server would carry it from one account to one other, not
// to all: so a message leaves its sender's account under another name, and comes back from the daemon's to everybody who
// may hear it, the sender's included, once. On the way it is held against its size and its sender's pace.
func (b *Bus) relay() error {
	for _, root := range messageRoots() {
		sub, err := b.own.Subscribe(access.OutPrefix+root, b.hand)
		if err == nil {
			err = sub.SetPendingLimits(maxRelayed, maxRelayedBytes)
		}
		if err != nil {
			return fmt.Errorf("relay %s: %w", root, err)
		}
	}
	return nil
}

// hand hands one message on.
func (b *Bus) hand(m *nats.Msg) {
	subject := strings.TrimPrefix(m.Subject, access.OutPrefix)
	origin, err := b.origins.read(m.Header.Get(originHeader))
	if err != nil {
		b.note("unknown", "message", wire.Errorf(wire.CodeForbidden, "message without an identity"))
		return
	}
	h, ok := b.auth.home(origin.Account)
	switch {
	case !ok:
		err = wire.Errorf(wire.CodeForbidden, "message of no identity")
	case len(m.Data) > wire.MaxSMD:
		err = wire.Errorf(wire.CodeTooLarge, "message on %.128s has %d bytes; at most %d are allowed", subject, len(m.Data), wire.MaxSMD)
	case !h.identity.Admin():
		err = h.pace.take(len(m.Data))
	}
	if err == nil {
		err = b.own.Publish(subject, m.Data)
	}
	if err != nil {
		b.note(h.identity.Name, "message", err)
	}
}

// messageRoots are the subjects under which participants tell each other what happened.
func messageRoots() []string {
	var roots []string
	for _, e := range wire.Events() {
		if root, _, _ := strings.Cut(e.Pattern(), "*"); e.Sender != "" {
			roots = append(roots, root+">")
		}
	}
	return roots
}
