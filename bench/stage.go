package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/internal/daemon"
	"muster/wire"
)

// patience is how long anything may take before the bench gives up.
const patience = time.Minute

// stage is a daemon in this process, OPERATIONAL, and a connection to it over TCP as any process of the device has one.
type stage struct {
	url    string
	conn   *nats.Conn
	events jetstream.Stream
	dir    string
	end    context.CancelFunc
	ended  chan error
}

// openStage starts a daemon on an empty folder.
func openStage() (*stage, error) { return openStageWith(daemon.DefaultConfig()) }

// openStageWith starts one with those settings, but for its folder and its address.
func openStageWith(config daemon.Config) (*stage, error) {
	dir, err := os.MkdirTemp("", "muster-bench-*")
	if err != nil {
		return nil, err
	}
	config.Dir, config.Listen = dir, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	s := &stage{dir: dir, end: cancel, ended: make(chan error, 1)}
	ready := make(chan daemon.RunFile, 1)
	go func() {
		s.ended <- daemon.Run(ctx, config, daemon.Options{Ready: func(f daemon.RunFile) { ready <- f }})
	}()
	select {
	case f := <-ready:
		s.url = f.URL
	case err := <-s.ended:
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.join(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// join connects, and waits until the system is OPERATIONAL and the store has caught up.
func (s *stage) join() (err error) {
	if s.conn, err = nats.Connect(s.url); err != nil {
		return err
	}
	if err := s.wish(wire.StateWish{Target: wire.Operational}); err != nil {
		return err
	}
	if s.events, err = openEvents(s.conn); err != nil {
		return err
	}
	view, err := request(s.conn, wire.StateGet, wire.Empty{})
	if err != nil {
		return err
	}
	return settle(s.events, view.Seq)
}

func (s *stage) close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	s.end()
	return errors.Join(<-s.ended, os.RemoveAll(s.dir))
}

// wish has the system go to a state, and returns when it is there.
func (s *stage) wish(want wire.StateWish) error {
	want.Reason, want.Wait = "bench", wire.InMicros(patience)
	outcome, err := request(s.conn, wire.StateRequest, want)
	if err == nil && outcome.Outcome != wire.OutcomeReached {
		err = fmt.Errorf("a wish for %s is %s: %v", want.Target, outcome.Outcome, outcome.Holders)
	}
	return err
}

// request asks an endpoint.
func request[Req, Ans any](nc *nats.Conn, e wire.Endpoint[Req, Ans], req Req) (ans Ans, err error) {
	payload, err := wire.Encode(req)
	if err != nil {
		return ans, err
	}
	m, err := nc.Request(e.For(req), payload, patience)
	if err != nil {
		return ans, fmt.Errorf("ask %s: %w", e.Subject, err)
	}
	if why := m.Header.Get(wire.HeaderError); why != "" {
		return ans, fmt.Errorf("ask %s: %s", e.Subject, why)
	}
	return ans, wire.Decode(m.Data, &ans)
}

// openEvents opens the stream of the kept events.
func openEvents(nc *nats.Conn) (jetstream.Stream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return js.Stream(ctx, wire.EventsStream)
}

// settle waits until the store has so many events, so that the work of storing falls on no other measurement.
func settle(events jetstream.Stream, count uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		info, err := events.Info(ctx)
		if err != nil || info.State.LastSeq >= count {
			return err
		}
	}
}
