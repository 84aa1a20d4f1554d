package client

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"muster/wire"
)

// Message is something that happened on the device, sent by a participant: lws's system message distribution (SMD).
type Message struct {
	Subject string          // sys.network.link
	At      wire.UnixMicros // when it was sent, by the sender's clocks; 0 if the sender did not say
	Mono    wire.MonoMicros
	Data    wire.Raw // the whole message
}

// Into decodes the message into v, a pointer to a struct or a map.
func (m Message) Into(v any) error { return wire.Decode(m.Data, v) }

// Publish tells whoever listens that something has happened: what is the part of the subject behind "sys.",
// "network.link", in one of the classes network, interaction, metric and user.0 to user.7. v is a struct or a map with
// string keys of at most 16 KiB; the time is added to it. Nobody answers and nothing is kept.
func (c *Client) Publish(what string, v any) error {
	subject, err := smdSubject(what)
	if err != nil {
		return err
	}
	raw, err := wire.RawOf(v)
	if err != nil {
		return err
	}
	message := map[string]any{}
	if err := wire.Decode(raw, &message); err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	message["at_us"], message["mono_us"] = wire.Now()
	data, err := wire.Encode(message)
	if err != nil {
		return err
	}
	if len(data) > wire.MaxSMD {
		return wire.Errorf(wire.CodeTooLarge, "the message for %s has %d bytes; at most %d are allowed", subject, len(data), wire.MaxSMD)
	}
	if err := c.nc.Publish(subject, data); err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// Listen gives what others publish, "network.>" or "user.3.*", until ctx is done or the loop is left. What is no message
// or too large is passed over. It ends with an error when the reader is too slow.
func (c *Client) Listen(ctx context.Context, what string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		subject, err := smdSubject(what)
		if err != nil {
			yield(Message{}, err)
			return
		}
		for m, err := range c.messages(ctx, subject) {
			if err != nil {
				yield(Message{}, err)
				return
			}
			var stamp struct {
				At   wire.UnixMicros `json:"at_us"`
				Mono wire.MonoMicros `json:"mono_us"`
			}
			if len(m.Data) > wire.MaxSMD || wire.Decode(m.Data, &stamp) != nil {
				c.log.Warn("unreadable message passed over", "subject", m.Subject, "bytes", len(m.Data))
				continue
			}
			if !yield(Message{Subject: m.Subject, At: stamp.At, Mono: stamp.Mono, Data: m.Data}, nil) {
				return
			}
		}
	}
}

// smdSubject gives the subject for a class and what happened in it.
func smdSubject(what string) (string, error) {
	class, rest, _ := strings.Cut(what, ".")
	if class == "user" {
		number, behind, _ := strings.Cut(rest, ".")
		if number == "*" || len(number) == 1 && number[0] >= '0' && number[0] <= '7' {
			class, rest = "network", behind // of the right form from here on
		}
	}
	switch {
	case class != "network" && class != "interaction" && class != "metric":
		return "", wire.Malformed("%.64q is in no class; network, interaction, metric or user.0 to user.7 would be right", what)
	case rest == "":
		return "", wire.Malformed("%.64q says only a class; network.link would be right", what)
	}
	return "sys." + what, nil
}
