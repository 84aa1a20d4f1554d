package main

import (
	"errors"

	"muster/wire"
)

// requests measures what another process waits for at the daemon, against a bare request that is answered with the
// same number of bytes.
func requests(_ Setting, report func(Row)) (err error) {
	s, err := openStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b, err := openBare()
	if err != nil {
		return err
	}
	defer b.close()
	view, err := request(s.conn, wire.StateGet, wire.Empty{})
	if err != nil {
		return err
	}
	answer, err := wire.Encode(view)
	if err != nil {
		return err
	}
	if err := b.respond(bareRequest, answer); err != nil {
		return err
	}
	c, err := startChild("client")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	measure := func(what string) ([]Pair, error) {
		return several(func() (p Pair, err error) {
			return p, c.order(errand{Daemon: s.url, Bare: b.url(), What: what, Samples: 2000}, &p)
		})
	}
	pairs, err := measure("state.get")
	if err != nil {
		return err
	}
	report(compared("request to an endpoint (state.get)", middle(pairs), 1.4))
	if pairs, err = measure("attach"); err != nil {
		return err
	}
	report(compared("attach from another process to its callback", middle(pairs), 1.4))
	return nil
}
