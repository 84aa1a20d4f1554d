package systemd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second

// manager plays systemd: it hears what is told.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func listen(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, conn}
}

// hear gives the next message.
func (m *manager) hear() string {
	m.t.Helper()
	text := make([]byte, 4096)
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	n, err := m.conn.Read(text)
	if err != nil {
		m.t.Fatalf("nothing is told: %v", err)
	}
	return string(text[:n])
}

func (m *manager) expect(want ...string) {
	m.t.Helper()
	if got := m.hear(); got != strings.Join(want, "\n") {
		m.t.Errorf("told %q, want %q", got, want)
	}
}

// bus answers as the test says.
type bus struct {
	mu   sync.Mutex
	view View
	err  error
}

func (b *bus) look(context.Context) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.err
}

func (b *bus) set(view View, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view, b.err = view, err
}

// run runs a service until the test ends.
func run(t *testing.T, b *bus, log *slog.Logger) *Service {
	t.Helper()
	s, err := New(Options{Look: b.look, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestLife(t *testing.T) {
	m, b := listen(t), &bus{view: View{Status: "DHCP"}}
	s := run(t, b, nil)
	m.expect("STATUS=DHCP", "EXTEND_TIMEOUT_USEC=30000000")
	s.Reloaded() // not ready yet, so not told
	b.set(View{Status: "AUTH1 next; held by x: no\nMAINPID=1\x1b", Ready: true}, nil)
	s.Changed()
	m.expect("READY=1", "STATUS=AUTH1 next; held by x: no MAINPID=1 ")
	s.Changed() // nothing new, nothing told
	s.Reloading()
	if got := m.hear(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("told %q", got)
	}
	s.Reloaded()
	m.expect("READY=1")
	b.set(View{Status: strings.Repeat("ä", 300)}, nil)
	s.Changed()
	m.expect("STATUS=" + strings.Repeat("ä", 199) + "…")
	s.Stopping()
	m.expect("STOPPING=1")
	s.Stopping()
	s.Changed()
	m.expect("EXTEND_TIMEOUT_USEC=30000000")
}

// TestWatchdog pings as long as the bus answers, and not a time more.
func TestWatchdog(t *testing.T) {
	m, b := listen(t), &bus{view: View{Status: "up", Ready: true}}
	t.Setenv("WATCHDOG_USEC", "30000")
	var log bytes.Buffer
	s := run(t, b, slog.New(slog.NewTextHandler(&log, nil)))
	m.expect("READY=1", "STATUS=up", "WATCHDOG=1")
	for range 3 {
		m.expect("WATCHDOG=1")
	}
	b.set(View{}, errors.New("no answer"))
	s.Stopping() // after it, only what was on its way comes
	for m.hear() != "STOPPING=1" {
	}
	if err := m.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes are told although the bus does not answer", n)
	}
}

// TestNobody does nothing where nobody listens, and looks at nothing.
func TestNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	s, err := New(Options{Look: func(context.Context) (View, error) {
		t.Error("it looks")
		return View{}, nil
	}})
	if err != nil || s.Wanted() {
		t.Fatalf("wanted %v, %v", s.Wanted(), err)
	}
	if err := s.Run(t.Context()); err != nil {
		t.Error(err)
	}
	s.Stopping()
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("a watchdog that is no number: %v", err)
	}
}

// TestDeaf logs that systemd cannot be told.
func TestDeaf(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	var log bytes.Buffer
	s, err := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Stopping()
	if !strings.Contains(log.String(), "systemd not told") {
		t.Errorf("logged %q", log.String())
	}
}
