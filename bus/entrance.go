package bus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"muster/access"
)

// entrance lets connections in, over TCP and over the socket file: it asks the kernel who is behind each, and joins it to
// the server by a connection within the process.
//
// The server could listen by itself and ask who it is that authenticates. But by then a connection may have been reset,
// with what it sent still to be read, and its port be somebody else's: the kernel would be asked about one and tell of
// the other. Here the daemon holds the connection itself, and sees that it stands (see [access.PeerOf]). And whoever does
// not say who he is takes up the places of his own user only.
type entrance struct {
	bus       *Bus
	listeners []net.Listener
	working   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both ends of each
	shut  bool
}

const (
	infoBudget  = 5 * time.Second       // for the server's first line
	maxInfo     = 32 << 10              // bytes of it
	acceptPause = 10 * time.Millisecond // when there is no room for another connection
	firstPump   = 4 << 10               // bytes taken at once, to begin with
	maxPump     = 64 << 10              // and at most
	slowBudget  = 2 * writeDeadline     // for a client that takes no bytes; the server is sooner to say so
)

// turnedAway is said instead of the server's first line, so that a client need not guess.
const turnedAway = "INFO {\"server_name\":\"muster\",\"proto\":1,\"max_payload\":0}\r\n-ERR 'maximum connections exceeded'\r\n"

// open begins to let in who connects to a listener.
func (e *entrance) open(l net.Listener) {
	e.listeners = append(e.listeners, l)
	e.working.Go(func() { e.accept(l) })
}

// accept takes connections until the listener is closed.
func (e *entrance) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files, say: others may close some
			e.bus.log.Warn("connection not accepted", "error", err)
			if !e.bus.rest(acceptPause) {
				return
			}
			continue
		}
		if !e.keep(conn) {
			_ = conn.Close() // it is the end
			continue
		}
		e.working.Go(func() {
			defer e.drop(conn)
			if err := e.receive(conn); err != nil {
				e.bus.refuse("unknown", err)
			}
		})
	}
}

// receive joins a connection to the server until one of them ends it.
func (e *entrance) receive(conn net.Conn) error {
	v := &visitor{}
	v.peer, v.socket, v.doubt = access.PeerOf(conn)
	if err := e.bus.auth.enter(v); err != nil {
		_ = conn.SetWriteDeadline(time.Now().Add(acceptPause))
		_, _ = conn.Write([]byte(turnedAway)) // if it is still there
		e.bus.refuse(v.who(), err)
		return nil
	}
	defer e.bus.auth.leave(v)
	inside, err := e.bus.server.InProcessConn()
	if err != nil {
		return err
	}
	if !e.keep(inside) {
		return inside.Close()
	}
	defer e.drop(inside)
	info, id, err := readInfo(inside)
	if err != nil {
		return err
	}
	e.bus.auth.announce(id, v)
	if _, err := conn.Write(info); err != nil {
		return nil // it has gone again
	}
	var both sync.WaitGroup
	var said commands
	both.Go(func() {
		pump(inside, conn, func(data []byte) error { return v.flow.Load().pass(e.bus.ctx, data, said.count(data)) })
	})
	both.Go(func() {
		pump(conn, inside, func([]byte) error { return conn.SetWriteDeadline(time.Now().Add(slowBudget)) })
	})
	both.Wait()
	return nil
}

// readInfo reads the server's first line, in which it says the connection's number. It has said nothing behind it.
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

// pump copies until an end, or an error of what is called before each part, and then ends the other side too.
func pump(to, from net.Conn, before func([]byte) error) {
	buffer := make([]byte, firstPump)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			failed := before(buffer[:n])
			if failed == nil {
				_, failed = to.Write(buffer[:n])
			}
			if failed != nil {
				break
			}
		}
		if err != nil {
			break
		}
		if n == len(buffer) && n < maxPump {
			buffer = make([]byte, 2*n)
		}
	}
	_, _ = to.Close(), from.Close() // either may be closed
}

// keep notes a connection so that it is closed at the end; false when that has come.
func (e *entrance) keep(conn net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shut {
		return false
	}
	e.conns[conn] = true
	return true
}

func (e *entrance) drop(conn net.Conn) {
	e.mu.Lock()
	delete(e.conns, conn)
	e.mu.Unlock()
	_ = conn.Close() // it may be closed
}

// close lets nobody in any more.
func (e *entrance) close() error {
	var errs []error
	for _, l := range e.listeners {
		errs = append(errs, l.Close())
	}
	e.listeners = nil
	return errors.Join(errs...)
}

// wait returns when every connection has ended. The server has closed them; what it has sent before has a moment to get
// through.
func (e *entrance) wait() {
	e.mu.Lock()
	e.shut = true
	for conn := range e.conns {
		_ = conn.SetDeadline(time.Now().Add(drainBudget)) // it may be closed
	}
	e.mu.Unlock()
	e.working.Wait()
}
