package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// membership orders a process to take part, under each name on connections of its own.
type membership struct {
	Daemon string
	Bare   string // "" for not there
	Names  []string
	States []wire.State // that it is asked about; none means all
	Silent bool         // it never answers
}

// joined tells that it takes part, or has been asked for the first time.
type joined struct{ Asked bool }

// playMembers accepts every question at the daemon, and answers every bare request with the same bytes.
func playMembers(orders *json.Decoder, answers *json.Encoder) error {
	accept, err := wire.Encode(wire.Answer{Answer: wire.Accept})
	if err != nil {
		return err
	}
	for {
		var order membership
		if err := orders.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := func(m *nats.Msg) { _ = m.Respond(accept) } // whoever asked will miss it
		if order.Silent {
			answer = func(*nats.Msg) { _ = answers.Encode(joined{Asked: true}) } // the bench will miss it
		}
		for _, name := range order.Names {
			if err := order.join(name, answer); err != nil {
				return err
			}
		}
		if err := answers.Encode(joined{}); err != nil {
			return err
		}
	}
}

// join subscribes and registers under one name.
func (o membership) join(name string, answer nats.MsgHandler) error {
	if o.Bare != "" {
		nc, err := nats.Connect(o.Bare)
		if err != nil {
			return fmt.Errorf("connect to the bare server: %w", err)
		}
		if _, err := nc.Subscribe(bareNotify(name), answer); err != nil {
			return err
		}
		if err := nc.Flush(); err != nil {
			return err
		}
	}
	nc, err := nats.Connect(o.Daemon)
	if err != nil {
		return fmt.Errorf("connect to the daemon: %w", err)
	}
	if _, err := nc.Subscribe(wire.NotifySubject(name), answer); err != nil {
		return err
	}
	_, err = request(nc, wire.NotifierRegister, wire.Registration{Name: name, States: o.States})
	return err
}

// bareNotify is where a member is asked at the bare server.
func bareNotify(name string) string { return "bare.notify." + name }

// members are processes that play [playMembers].
type members []*child

// startMembers starts so many of them.
func startMembers(count int) (members, error) {
	var all members
	for range count {
		c, err := startChild("members")
		if err != nil {
			return nil, errors.Join(err, all.stop())
		}
		all = append(all, c)
	}
	return all, nil
}

// join has notifiers take part, spread over the processes, and gives their names. What order says besides holds for
// each of them.
func (all members) join(count int, prefix string, order membership) ([]string, error) {
	var names []string
	for i, c := range all {
		mine := order
		for n := i; n < count; n += len(all) {
			mine.Names = append(mine.Names, fmt.Sprintf("%s-%d", prefix, n))
		}
		if len(mine.Names) == 0 {
			break
		}
		if err := c.order(mine, &joined{}); err != nil {
			return nil, fmt.Errorf("join as %v: %w", mine.Names, err)
		}
		names = append(names, mine.Names...)
	}
	return names, nil
}

func (all members) stop() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.stop())
	}
	return errors.Join(errs...)
}
