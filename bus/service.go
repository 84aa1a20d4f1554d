package bus

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// services is where clients look what services there are.
const services = "$SRV.>"

// introduceBudget is for the micro library to answer, which is in this process.
const introduceBudget = time.Second

// listService answers those who look what services there are ($SRV.PING, $SRV.INFO, $SRV.STATS) as the micro library
// does, but with the subjects on which a client asks, and at the pace of the identity.
func (b *Bus) listService() error {
	_, err := b.own.Subscribe(from("*", services), func(m *nats.Msg) {
		h, err := b.sender(m.Subject)
		if err == nil && !h.identity.Admin() {
			err = h.pace.take(len(m.Data))
		}
		if err == nil && m.Reply != "" {
			err = b.introduce(m)
		}
		if err != nil && b.ctx.Err() == nil {
			b.note(h.identity.Name, "$SRV", err)
		}
	})
	if err != nil {
		return fmt.Errorf("list the service: %w", err)
	}
	return nil
}

// introduce answers one listing. Who asks for another service is told that nobody is there.
func (b *Bus) introduce(m *nats.Msg) error {
	_, subject := cameFrom(m.Subject)
	answer, err := b.own.Request(subject, m.Data, introduceBudget)
	if errors.Is(err, nats.ErrNoResponders) {
		return b.own.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": []string{"503"}}})
	}
	if err != nil {
		return err
	}
	return b.own.Publish(m.Reply, bytes.ReplaceAll(answer.Data, []byte(`"`+from("*", "")), []byte(`"`)))
}
