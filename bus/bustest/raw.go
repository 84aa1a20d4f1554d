package bustest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Raw is a connection that speaks NATS's protocol by hand, so that it may say what no library would.
type Raw struct {
	net.Conn
	t     testing.TB
	lines *bufio.Reader
	Info  string // the server's first line
}

// rawBudget is for an answer that is sure to come.
const rawBudget = 5 * time.Second

// DialRaw connects to a URL (nats://host:port) or a socket (unix:///path), and reads the server's first line.
func DialRaw(t testing.TB, url string) *Raw {
	t.Helper()
	network, address := "tcp", strings.TrimPrefix(url, "nats://")
	if path, ok := strings.CutPrefix(url, "unix://"); ok {
		network, address = "unix", path
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return NewRaw(t, conn)
}

// NewRaw speaks over a connection that is there already.
func NewRaw(t testing.TB, conn net.Conn) *Raw {
	t.Helper()
	r := &Raw{Conn: conn, t: t, lines: bufio.NewReader(conn)}
	t.Cleanup(func() { _ = conn.Close() })
	r.Info, _ = r.Line() // "" from one that is closed at once
	return r
}

// Say sends as it is.
func (r *Raw) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(r, format, args...) // what comes of it is read
}

// Line reads one line without its end.
func (r *Raw) Line() (string, error) {
	if err := r.SetReadDeadline(time.Now().Add(rawBudget)); err != nil {
		return "", err
	}
	line, err := r.lines.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Ping sends a PING and gives the lines up to its PONG, or up to the end of the connection. A PING of the server's own,
// which it sends who takes long to connect, is answered and not among them.
func (r *Raw) Ping() (lines []string, open bool) {
	r.Say("PING\r\n")
	for {
		line, err := r.Line()
		if err != nil {
			return lines, false
		}
		switch line {
		case "PONG":
			return lines, true
		case "PING":
			r.Say("PONG\r\n")
		default:
			lines = append(lines, line)
		}
	}
}

// Connect says CONNECT with the key, headers allowed, and waits until the server has taken it.
func (r *Raw) Connect(k Key) {
	r.t.Helper()
	r.Say(`CONNECT {"headers":true,"verbose":false,"nkey":%q,"sig":%q}`+"\r\n", k.Public, k.Sign(r.Info))
	if lines, open := r.Ping(); !open || len(lines) > 0 {
		r.t.Fatalf("connecting is answered with %q, open: %v", lines, open)
	}
}
