package main

import (
	"errors"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/internal/daemon"
	"muster/wire"
)

// identities measures what it costs that everybody is somebody: to ask the kernel who a connection is, to let it in, to
// hold each of its messages against what it may do, and to keep it in an account of its own.
func identities(_ Setting, report func(Row)) (err error) {
	if err := lookUps(report); err != nil {
		return err
	}
	p, err := newParticipant()
	if err != nil {
		return err
	}
	config := daemon.DefaultConfig()
	config.Roles = append(config.Roles, p.role)
	config.Bounds.Requests, config.Bounds.Bytes = 1_000_000, 1<<30 // nobody is to wait
	s, err := openStageWith(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := entries(s, p, report); err != nil {
		return err
	}
	return borders(s, p, report)
}

// lookUps measures how long the kernel takes to say who owns the other end of a connection.
func lookUps(report func(Row)) (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	near, err := net.Dial("tcp", l.Addr().String()) //nolint:noctx // at once
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, near.Close()) }()
	far, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	remote, local := far.RemoteAddr().(*net.TCPAddr).AddrPort(), far.LocalAddr().(*net.TCPAddr).AddrPort()
	medians, err := several(func() (time.Duration, error) {
		return repeat(2000, func() (time.Duration, error) {
			began := time.Now()
			_, err := access.OwnerOf(remote, local)
			return time.Since(began), err
		})
	})
	if err != nil {
		return err
	}
	report(absolute("look-up of who owns a connection", micros(median(medians)), "µs", 100))
	return nil
}

// entries measures how soon somebody is let in, by the word of the kernel and by a key.
func entries(s *stage, p participant, report func(Row)) error {
	for _, way := range []struct {
		name  string
		enter sampler
	}{
		{"connection let in by the kernel's word", enter(s.url, nil)},
		{"connection let in by a key", enter(s.url, &p)},
	} {
		medians, err := several(func() (time.Duration, error) { return repeat(300, way.enter) })
		if err != nil {
			return err
		}
		report(absolute(way.name, micros(median(medians)), "µs", 1000))
	}
	return nil
}

// borders measures requests from another process: at a bare server with a participant's permissions against one without
// any, and from the participant's account at the daemon against a bare server where it and the endpoint are in one account.
func borders(s *stage, p participant, report func(Row)) (err error) {
	view, err := request(s.conn, wire.StateGet, wire.Empty{})
	if err != nil {
		return err
	}
	answer, err := wire.Encode(view)
	if err != nil {
		return err
	}
	of, err := p.permissions()
	if err != nil {
		return err
	}
	var servers [3]*bare
	for i, of := range []*server.Permissions{of, nil, of} {
		b, err := openBareWith(permissions{of})
		if err != nil {
			return err
		}
		defer b.close()
		servers[i] = b
	}
	bounded, free, same := servers[0], servers[1], servers[2]
	if err := errors.Join(bounded.respond(bareRequest, answer), free.respond(bareRequest, answer), same.attend(bareRequest, view)); err != nil {
		return err
	}
	c, err := startChild("client")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	for _, row := range []struct {
		name  string
		do    errand
		limit float64
	}{
		{"bare request with permissions, against one without", errand{Daemon: bounded.url(), Bare: free.url(), What: "bare"}, 1.05},
		{"request from the account of a participant (state.get)", errand{Daemon: s.url, Seed: p.seed, Bare: same.url(), What: "state.get"}, 1.4},
	} {
		row.do.Samples = 2000
		pairs, err := several(func() (pair Pair, err error) { return pair, c.order(row.do, &pair) })
		if err != nil {
			return err
		}
		report(compared(row.name, middle(pairs), row.limit))
	}
	return nil
}
