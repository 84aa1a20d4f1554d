package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"muster/access"
	"muster/wire"
)

// bare is NATS with nothing of muster's but the permissions: a server in this process, as the daemon's is, with a
// connection within the process, as the daemon has one, and everybody in one account. What muster costs is what it
// takes longer than this.
type bare struct {
	server  *server.Server
	conn    *nats.Conn
	inbox   string
	answers chan struct{}
	asked   int
}

// openBare starts a server with the permissions of an administrator.
func openBare() (*bare, error) {
	allowed, err := adminPermissions()
	if err != nil {
		return nil, err
	}
	return openBareWith(allowed)
}

// openBareWith starts a server with the permissions that are given.
func openBareWith(allowed permissions) (*bare, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, CustomClientAuthentication: allowed,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return nil, errors.New("the bare server does not start")
	}
	b := &bare{server: s, answers: make(chan struct{}, 4096)}
	if b.conn, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		return nil, err
	}
	b.inbox = nats.NewInbox() + "."
	_, err = b.conn.Subscribe(b.inbox+"*", func(*nats.Msg) { b.answers <- struct{}{} })
	return b, errors.Join(err, b.conn.Flush())
}

func (b *bare) close() {
	b.conn.Close()
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *bare) url() string { return b.server.ClientURL() }

// respond answers requests on a subject within the process.
func (b *bare) respond(subject string, answer []byte) error {
	_, err := b.conn.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(answer) }) // whoever asked will miss it
	return errors.Join(err, b.conn.Flush())
}

// attend answers requests on a subject as an endpoint of the daemon's does, which is found as a service, reads what it is
// asked and writes its answer anew each time.
func (b *bare) attend(subject string, view wire.StateView) error {
	service, err := micro.AddService(b.conn, micro.Config{Name: "bench", Version: "0.0.0"})
	if err != nil {
		return err
	}
	answer := func(r micro.Request) {
		var asked wire.Empty
		if err := wire.Decode(r.Data(), &asked); err != nil {
			_ = r.Error("400", err.Error(), nil) // whoever asked will miss it
			return
		}
		if data, err := wire.Encode(view); err == nil {
			_ = r.Respond(data)
		}
	}
	return errors.Join(service.AddEndpoint("state-get", micro.HandlerFunc(answer), micro.WithEndpointSubject(subject)), b.conn.Flush())
}

// gather sends a request to each of the subjects at once, and returns when all are answered. One subscription takes
// the answers, which is the fastest way that NATS has.
func (b *bare) gather(subjects []string, payload []byte) sampler {
	return func() (time.Duration, error) {
		started := time.Now()
		for _, subject := range subjects {
			b.asked++
			if err := b.conn.PublishRequest(subject, b.inbox+strconv.Itoa(b.asked), payload); err != nil {
				return 0, err
			}
		}
		patient := time.NewTimer(patience)
		defer patient.Stop()
		for range subjects {
			select {
			case <-b.answers:
			case <-patient.C:
				return 0, fmt.Errorf("not all of %d have answered within %v", len(subjects), patience)
			}
		}
		return time.Since(started), nil
	}
}

// permissions lets clients in with those that somebody has at the daemon. The server holds each message against them.
type permissions struct{ of *server.Permissions } // nil for none

// adminPermissions are those of whoever runs the bench.
func adminPermissions() (permissions, error) {
	policy, err := access.NewPolicy(nil, os.Getuid())
	if err != nil {
		return permissions{}, err
	}
	identity, known := policy.Identify(access.Peer{Via: wire.ViaTCP, UID: os.Getuid()})
	if !known {
		return permissions{}, fmt.Errorf("user %d is nobody to a daemon of its own", os.Getuid())
	}
	return permissions{identity.Permissions()}, nil
}

// Check implements server.Authentication.
func (p permissions) Check(c server.ClientAuthentication) bool {
	user := &server.User{Username: "bench"}
	if c.RemoteAddress().Network() != "pipe" { // the connection within the process may do everything, as the daemon's may
		user.Permissions = p.of
	}
	c.RegisterUser(user)
	return true
}
