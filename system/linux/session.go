package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/godbus/dbus/v5"
)

// goingDown is the signal by which logind tells that the device goes down, or does not after all.
const goingDown = "PrepareForShutdown"

// Open makes a [Session].
func (l Logind) Open(ctx context.Context) (Session, error) {
	log := l.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &session{ear: newEar(log)}
	var err error
	if s.conn, err = connect(ctx, dbus.WithSignalHandler(s.ear)); err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		_ = s.conn.Close() // it is of no use
		return nil, err
	}
	return s, nil
}

// session is a connection to logind over D-Bus.
type session struct {
	conn *dbus.Conn
	ear  *ear // closed by conn at its end
}

// listen has the bus tell who logind is, and then what that says.
func (s *session) listen(ctx context.Context) error {
	err := s.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
		dbus.WithMatchMember(ownerChanged), dbus.WithMatchArg(0, loginName))
	if err != nil {
		return fmt.Errorf("follow who %s is: %w", loginName, err)
	}
	var owner string
	err = s.conn.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, loginName).Store(&owner)
	if refusal, ok := errors.AsType[dbus.Error](err); ok && refusal.Name == busName+".Error.NameHasNoOwner" {
		err = nil // the bus starts it when it is called, and tells then
	}
	if err != nil {
		return fmt.Errorf("ask who %s is: %w", loginName, err)
	}
	s.ear.begin(owner)
	err = s.conn.AddMatchSignalContext(ctx, dbus.WithMatchObjectPath(loginPath), dbus.WithMatchInterface(loginInterface),
		dbus.WithMatchMember(goingDown), dbus.WithMatchSender(loginName))
	if err != nil {
		return fmt.Errorf("listen to %s: %w", loginName, err)
	}
	return nil
}

// Downs implements [Session]. A word that is not taken before the next one comes is left out.
func (s *session) Downs() <-chan bool { return s.ear.downs }

// Inhibit implements [Session].
func (s *session) Inhibit(ctx context.Context, mode, why string) (io.Closer, error) {
	var fd dbus.UnixFD
	err := call(ctx, s.conn.Object(loginName, loginPath), "Inhibit", "shutdown", "muster", why, mode).Store(&fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "lock"), nil
}

// Close implements [Session].
func (s *session) Close() error { return s.conn.Close() }
