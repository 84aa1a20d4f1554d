package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/bus/bustest"
	"muster/wire"
)

// crowded is how long a request may wait behind all that the bounds let a flood have under way, on a slow machine.
const crowded = time.Minute

// flood has a role say the same thing over and over on several connections, until the test is over.
func flood(t *testing.T, r *running, key bustest.Key, what string) (end func()) {
	t.Helper()
	const conns = 8
	said := []byte(strings.Repeat(what, 500))
	ended := make(chan struct{}, 2*conns)
	var raws []*bustest.Raw
	for range conns {
		raw := bustest.DialRaw(t, r.URL)
		raw.Connect(key)
		raw.Say("SUB _INBOX.> 1\r\n")
		if err := raw.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
		go func() {
			for err := error(nil); err == nil; {
				_, err = raw.Write(said)
			}
			ended <- struct{}{}
		}()
		go func() {
			heard := make([]byte, 1<<16)
			for err := error(nil); err == nil; {
				_, err = raw.Read(heard)
			}
			ended <- struct{}{}
		}()
	}
	return func() {
		for _, raw := range raws {
			_ = raw.Close() // the daemon may have been sooner
		}
		for range 2 * conns {
			<-ended
		}
	}
}

// TestStarvation has one role flood the daemon with everything that it may send, and with what it may not. An
// administrator and another role are answered all the while, and that one not with 429.
func TestStarvation(t *testing.T) {
	for name, what := range map[string]string{
		"requests": "PUB sys.api.state.get _INBOX.a 0\r\n\r\n", "bookings": "PUB sys.loop.0 0\r\n\r\n", "forgeries": "PUB sys.state 0\r\n\r\n",
		"the store":   "PUB $JS.API.STREAM.INFO.SYS_EVENTS _INBOX.a 0\r\n\r\n",
		"the service": "PUB $SRV.INFO _INBOX.a 0\r\n\r\n", "messages": "PUB sys.metric.load 2\r\nup\r\n", "pings": "PING\r\n",
		"large requests": "PUB sys.api.state.get _INBOX.a 65536\r\n" + strings.Repeat("\n", 65536) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			loud, quiet := bustest.NewKey(t), bustest.NewKey(t)
			r := start(t, t.TempDir(), func(c *Config) {
				c.Roles = append(c.Roles, loud.Role("loud", "state:read", "loop:book", "smd:publish:metric"), quiet.Role("quiet", "state:read"))
			})
			admin := r.dial()
			await(t, admin, wire.Operational)
			modest, err := nats.Connect(r.URL, quiet.Option())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(modest.Close)
			end := flood(t, r, loud, what)
			defer end()
			for range 1000 { // fewer than the bounds have room for
				for who, nc := range map[string]*nats.Conn{"an administrator": admin, "another role": modest} {
					answer, err := nc.Request("sys.api.state.get", nil, crowded)
					if err != nil || answer.Header.Get("Nats-Service-Error-Code") != "" {
						t.Fatalf("%s: %v, %v", who, answer, err)
					}
				}
			}
		})
	}
}
