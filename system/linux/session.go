package linux

import (
	"context"
	"io"
	"os"

	"github.com/godbus/dbus/v5"
)

// goingDown is the signal by which logind tells that the device goes down, or does not after all.
const goingDown = "PrepareForShutdown"

// Open makes a [Session].
func (Logind) Open(ctx context.Context) (Session, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, signals: make(chan *dbus.Signal, 16), downs: make(chan bool)}
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchObjectPath(loginPath), dbus.WithMatchInterface(loginInterface),
		dbus.WithMatchMember(goingDown), dbus.WithMatchSender(loginName))
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, err
	}
	conn.Signal(s.signals)
	go s.hear()
	return s, nil
}

// session is a connection to logind over D-Bus.
type session struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed by conn at its end
	downs   chan bool
}

// hear passes on what logind says, until the connection ends.
func (s *session) hear() {
	defer close(s.downs)
	for signal := range s.signals {
		var down bool
		if !s.logindSays(signal) || dbus.Store(signal.Body, &down) != nil {
			continue
		}
		select {
		case s.downs <- down:
		case <-s.conn.Context().Done():
		}
	}
}

// logindSays tells logind's own word from what anybody may send to this connection.
func (s *session) logindSays(signal *dbus.Signal) bool {
	if signal.Name != loginInterface+"."+goingDown {
		return false
	}
	var owner string
	err := s.conn.BusObject().CallWithContext(s.conn.Context(), "org.freedesktop.DBus.GetNameOwner", 0, loginName).Store(&owner)
	return err == nil && owner == signal.Sender
}

// Downs implements [Session].
func (s *session) Downs() <-chan bool { return s.downs }

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
