package bus

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

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
		sub, err := b.own.Subscribe(from("*", root), b.hand)
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
	account, subject := cameFrom(m.Subject)
	h, known := b.auth.home(account)
	var err error
	switch {
	case !known:
		err = wire.Errorf(wire.CodeForbidden, "message of no identity")
	case !h.identity.MaySend(subject): // the server lets subjects that are patterns through, and knows of a lost right a little late
		err = wire.Errorf(wire.CodeForbidden, "%s may not send on %.128s", h.identity.Name, subject)
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
