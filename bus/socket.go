package bus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"muster/access"
)

// Socket says where the bus is reached without the network: a Unix socket, whose connections the kernel vouches for.
type Socket struct {
	Path  string      // "" means none
	Mode  os.FileMode // who may connect at all; 0 means 0666: what somebody may do is his role's to say
	Group string      // of the file; "" means the daemon's
}

const (
	infoBudget = 5 * time.Second // for the server's first line
	maxInfo    = 32 << 10        // bytes of it
)

// socketListener hands connections over a Unix socket to the server, which knows none, by way of connections within the
// process, and tells who is behind each before the server asks.
type socketListener struct {
	bus      *Bus
	listener *net.UnixListener
	working  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // to be closed with the listener
}

// listenSocket begins to listen. A file that a former daemon left is taken away; one that somebody answers on is not.
func (b *Bus) listenSocket(s Socket) error {
	if s.Path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o755); err != nil {
		return fmt.Errorf("make the socket's folder: %w", err)
	}
	if c, err := net.Dial("unix", s.Path); err == nil { //nolint:noctx // at once
		return errors.Join(fmt.Errorf("listen on %s: somebody answers there already", s.Path), c.Close())
	}
	if err := removeSocket(s.Path); err != nil {
		return fmt.Errorf("listen on %s: %w", s.Path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on a socket: %w", err)
	}
	b.socket = &socketListener{bus: b, listener: l, conns: map[net.Conn]bool{}}
	if err := s.dress(); err != nil {
		return err
	}
	b.socket.working.Go(b.socket.accept)
	return nil
}

// SocketPath is where clients connect without the network; "" where they cannot.
func (b *Bus) SocketPath() string {
	if b.socket == nil {
		return ""
	}
	return b.opts.Socket.Path
}

// removeSocket takes a socket's file away, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return errors.New("a file that is no socket stands there")
	}
	return os.Remove(path)
}

// dress gives the file its group and mode.
func (s Socket) dress() error {
	if s.Group != "" {
		group, err := user.LookupGroup(s.Group)
		if err != nil {
			return fmt.Errorf("group of the socket: there is no group %q on this device", s.Group)
		}
		gid, err := strconv.Atoi(group.Gid)
		if err == nil {
			err = os.Chown(s.Path, -1, gid)
		}
		if err != nil {
			return fmt.Errorf("group of the socket: %w", err)
		}
	}
	mode := s.Mode
	if mode == 0 {
		mode = 0o666
	}
	if err := os.Chmod(s.Path, mode); err != nil {
		return fmt.Errorf("mode of the socket: %w", err)
	}
	return nil
}

// accept takes connections until the listener is closed.
func (l *socketListener) accept() {
	for {
		conn, err := l.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files, say: others may close some
			l.bus.log.Warn("connection over the socket not accepted", "error", err)
			if !l.bus.rest(10 * time.Millisecond) {
				return
			}
			continue
		}
		if !l.keep(conn) {
			_ = conn.Close() // too many, or the end
			continue
		}
		l.working.Go(func() {
			defer l.drop(conn)
			if err := l.bridge(conn); err != nil {
				l.bus.refuse("unknown", "socket", err)
			}
		})
	}
}

// bridge joins a connection to the server until one of them ends it.
func (l *socketListener) bridge(conn *net.UnixConn) error {
	peer, err := access.PeerOf(conn)
	if err != nil {
		return err
	}
	inside, err := l.bus.server.InProcessConn()
	if err != nil {
		return err
	}
	if !l.keep(inside) {
		return inside.Close()
	}
	defer l.drop(inside)
	info, id, err := readInfo(inside)
	if err != nil {
		return err
	}
	l.bus.auth.bridge(id, peer)
	if _, err := conn.Write(info); err != nil {
		return nil // it has gone again
	}
	var both sync.WaitGroup
	both.Go(func() { pump(inside, conn) })
	both.Go(func() { pump(conn, inside) })
	both.Wait()
	l.bus.auth.gone(id)
	return nil
}

// readInfo reads the server's first line, in which it says the connection's number, byte by byte as it were: nothing
// behind it is taken.
func readInfo(inside net.Conn) (line []byte, id uint64, err error) {
	if err := inside.SetReadDeadline(time.Now().Add(infoBudget)); err != nil {
		return nil, 0, err
	}
	line, err = bufio.NewReaderSize(inside, maxInfo).ReadSlice('\n')
	if err != nil {
		return nil, 0, fmt.Errorf("the server's first line: %w", err)
	}
	var info struct {
		ID uint64 `json:"client_id"`
	}
	if len(line) < 5 || json.Unmarshal(line[5:], &info) != nil || info.ID == 0 { // behind "INFO "
		return nil, 0, errors.New("the server's first line has no client_id")
	}
	return line, info.ID, inside.SetReadDeadline(time.Time{})
}

// pump copies until an end, and then ends the other side too.
func pump(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either may go at any time
	_ = to.Close()
	_ = from.Close()
}

// keep notes a connection so that it is closed with the listener; false when there are too many.
func (l *socketListener) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil || len(l.conns) >= 2*maxConnections {
		return false
	}
	l.conns[conn] = true
	return true
}

func (l *socketListener) drop(conn net.Conn) {
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	_ = conn.Close() // it may be closed
}

// close ends all of it and waits.
func (l *socketListener) close() error {
	err := l.listener.Close()
	l.mu.Lock()
	for conn := range l.conns {
		_ = conn.Close() // it may be closed
	}
	l.conns = nil
	l.mu.Unlock()
	l.working.Wait()
	return err
}
