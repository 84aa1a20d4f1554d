package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/wire"
)

// errand orders a process to measure something at the daemon or, where it is compared with NATS alone, at both.
type errand struct {
	Daemon  string
	Seed    string // of the key that says who asks the daemon; "" for the kernel's word
	Bare    string // "" where nothing is compared
	What    string // a key of errands
	Samples int
}

// errands are what can be measured from another process. What is measured without a comparison has no baseline.
var errands = map[string]func(e errand, daemon, bare *nats.Conn) (Pair, error){
	"state.get":           getState,
	"bare":                askBoth,
	"attach":              attachAfar,
	"attach among others": attachAmongOthers,
	"book":                func(e errand, daemon, _ *nats.Conn) (Pair, error) { return Pair{}, book(daemon, e.Samples) },
}

const (
	bareRequest = "sys.api.bare"   // is answered within the process of the bare server, as the daemon answers
	benchCall   = "sys.call.bench" // is booked on the loop
)

// playClient runs one errand for each order, and answers with its medians.
func playClient(orders *json.Decoder, answers *json.Encoder) error {
	for {
		var e errand
		if err := orders.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		p, err := e.run()
		if err != nil {
			return fmt.Errorf("%s: %w", e.What, err)
		}
		if err := answers.Encode(p); err != nil {
			return err
		}
	}
}

func (e errand) run() (p Pair, err error) {
	options, err := e.options()
	if err != nil {
		return p, err
	}
	daemon, err := nats.Connect(e.Daemon, options...)
	if err != nil {
		return p, err
	}
	defer daemon.Close()
	var bare *nats.Conn
	if e.Bare != "" {
		if bare, err = nats.Connect(e.Bare); err != nil {
			return p, err
		}
		defer bare.Close()
	}
	return errands[e.What](e, daemon, bare)
}

// options say who asks the daemon.
func (e errand) options() ([]nats.Option, error) {
	if e.Seed == "" {
		return nil, nil
	}
	key, err := nkeys.FromSeed([]byte(e.Seed))
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey()
	return []nats.Option{nats.Nkey(public, key.Sign)}, err
}

// ask samples a request.
func ask(nc *nats.Conn, subject string, payload []byte) sampler {
	return func() (time.Duration, error) {
		started := time.Now()
		m, err := nc.Request(subject, payload, patience)
		took := time.Since(started)
		if err == nil && m.Header.Get(wire.HeaderError) != "" {
			err = errors.New(m.Header.Get(wire.HeaderError))
		}
		return took, err
	}
}

// getState asks where the system is, against a request.
func getState(e errand, daemon, bare *nats.Conn) (p Pair, err error) {
	payload, err := wire.Encode(wire.Empty{})
	if err != nil {
		return p, err
	}
	return alternate(e.Samples, ask(daemon, wire.StateGet.Subject, payload), ask(bare, bareRequest, payload))
}

// askBoth asks the same where there is no daemon, but bare servers both times.
func askBoth(e errand, one, other *nats.Conn) (p Pair, err error) {
	payload, err := wire.Encode(wire.Empty{})
	if err != nil {
		return p, err
	}
	return alternate(e.Samples, ask(one, bareRequest, payload), ask(other, bareRequest, payload))
}

// attachAfar books a call of its own, against a request with the same payload.
func attachAfar(e errand, daemon, bare *nats.Conn) (p Pair, err error) {
	call, payload, err := ownCall(daemon)
	if err != nil {
		return p, err
	}
	return alternate(e.Samples, call, ask(bare, bareRequest, payload))
}

// attachAmongOthers books a call of its own.
func attachAmongOthers(e errand, daemon, _ *nats.Conn) (p Pair, err error) {
	call, _, err := ownCall(daemon)
	if err != nil {
		return p, err
	}
	p.Value, err = repeat(e.Samples, call)
	return p, err
}

// ownCall samples a booked call. The time is that from the booking to the call: one message to the daemon and one back, as
// with a request.
func ownCall(daemon *nats.Conn) (call sampler, payload []byte, err error) {
	called := make(chan time.Time, 1)
	if _, err := daemon.Subscribe(benchCall, func(m *nats.Msg) {
		called <- time.Now()
		_ = m.Respond(nil) // the loop will miss it
	}); err != nil {
		return nil, nil, err
	}
	payload, err = wire.Encode(wire.Booking{Call: benchCall})
	call = func() (time.Duration, error) {
		began := time.Now()
		if err := daemon.Publish(wire.LoopBook.For(wire.Booking{}), payload); err != nil {
			return 0, err
		}
		took := (<-called).Sub(began)
		_, err := request(daemon, wire.StateGet, wire.Empty{}) // the loop has gone on by then
		return took, err
	}
	return call, payload, err
}
