package daemon

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// hearing hears what the daemon tells systemd.
func hearing(t *testing.T) (until func(words ...string) (messages []string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func(words ...string) (messages []string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for text := make([]byte, 4096); ; {
			n, err := conn.Read(text)
			if err != nil {
				t.Fatalf("systemd does not hear %q, but\n%s", words, strings.Join(messages, "\n"))
			}
			messages = append(messages, string(text[:n]))
			if has(messages[len(messages)-1], words...) {
				return messages
			}
		}
	}
}

// has reports whether the message has all of the words, each at the beginning of a line.
func has(message string, words ...string) bool {
	for _, word := range words {
		if !strings.Contains("\n"+message, "\n"+word) {
			return false
		}
	}
	return true
}

// TestSystemd follows a daemon through its life as systemd does.
func TestSystemd(t *testing.T) {
	until := hearing(t)
	t.Setenv("WATCHDOG_USEC", "60000000")
	reload := make(chan Config)
	r := startWith(t, t.TempDir(), Options{Reload: reload}, func(c *Config) {
		c.Systemd.Ready = "OPERATIONAL"
		c.Required = []Required{{Name: "modem", States: []wire.State{wire.DHCP}}}
	})
	for _, message := range until("STATUS=IFACE_COLDPLUG, next DHCP; held by modem: not connected", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=") {
		if has(message, "READY=1") {
			t.Errorf("ready in %q", message)
		}
	}
	nc := r.dial()
	if _, err := nc.Subscribe("sys.notify.modem", func(m *nats.Msg) { _ = m.Respond([]byte(`{"answer":"accept"}`)) }); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.api.notifier.register.modem", `{"format":"json"}`, nil); code != "" {
		t.Fatalf("register: %s", code)
	}
	until("READY=1", "STATUS=OPERATIONAL")
	config := DefaultConfig()
	reload <- config
	until("RELOADING=1", "MONOTONIC_USEC=")
	until("READY=1")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	until("STOPPING=1")
}

// TestSystemdBus is ready as soon as the bus answers, whoever holds the boot.
func TestSystemdBus(t *testing.T) {
	until := hearing(t)
	start(t, t.TempDir(), func(c *Config) { c.Required = []Required{{Name: "modem"}} })
	if first := until("READY=1"); len(first) != 1 {
		t.Errorf("ready only after %q", first)
	}
}

func TestStatusOf(t *testing.T) {
	for want, view := range map[string]wire.StateView{
		"OPERATIONAL":            {State: wire.Operational},
		"DHCP, paused: no lease": {State: wire.DHCP, Paused: &wire.Paused{Reason: "no lease"}},
		"DHCP, next CPD_PRE_TIME; held by a: x, by b: y": {State: wire.DHCP, Transition: &wire.Transition{
			To: wire.CPDPreTime, Holders: []wire.Holder{{Notifier: "a", Reason: "x"}, {Notifier: "b", Reason: "y"}},
		}},
	} {
		if got := statusOf(view); got != want {
			t.Errorf("status %q, want %q", got, want)
		}
	}
}
