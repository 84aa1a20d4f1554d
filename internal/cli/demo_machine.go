package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"muster/client"
	"muster/system/boot"
	"muster/wire"
)

// observers are the built-in notifiers that look at this machine, whatever it is like.
var observers = []string{"network", "clock"}

// tellOfMachine tells what the observers get to see, from where they have it.
func (s *stage) tellOfMachine(ctx context.Context) {
	seen := errors.New("seen")
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	err := boot.Netlink{}.Watch(ctx, func(picture []boot.Fact) {
		if context.Cause(ctx) != nil {
			return
		}
		lines := boot.Describe(picture)
		if len(lines) == 0 {
			lines = []string{"there is no interface but the loopback interface"}
		}
		for _, line := range lines {
			s.story.say("machine", "%s", line)
		}
		enough(seen)
	})
	if !errors.Is(context.Cause(ctx), seen) {
		s.story.say("machine", "does not tell of its network: %v", err)
	}
	look, err := boot.KernelClock{}.Look()
	if err != nil {
		s.story.say("machine", "does not tell of its clock: %v", err)
		return
	}
	s.story.say("machine", "the clock is %s", look)
}

// listenToNetwork tells what becomes of the network and the clock from now on.
func (s *story) listenToNetwork(bus *client.Client) error {
	const topic = "sys.network."
	_, err := bus.Conn().Subscribe(topic+">", func(m *nats.Msg) {
		var c boot.Change
		if wire.Decode(m.Data, &c) != nil { // whoever may can publish here
			return
		}
		s.say("machine", "%s", inWords(strings.TrimPrefix(m.Subject, topic), c))
	})
	return err
}

// inWords tells of a change.
func inWords(what string, c boot.Change) string {
	if what == "online" {
		what = "network"
	}
	text := "the " + what
	if c.Interface != "" {
		text += " of " + c.Interface
	}
	if c.New == "" {
		return text + " is gone"
	}
	text += " is " + c.New
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	return text
}
