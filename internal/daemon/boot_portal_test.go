package daemon

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"muster/system/boot"
	"muster/wire"
)

// TestPortalHolds boots behind a portal that lets through when somebody has logged in, and appears again later.
func TestPortalHolds(t *testing.T) {
	var loggedIn atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loggedIn.Load() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, "/login?session=s3cr3t", http.StatusFound)
	}))
	defer web.Close()
	r := start(t, t.TempDir(), func(c *Config) {
		c.Portal.Mode, c.Portal.HTTP, c.Portal.FallBack = "observe", web.URL+"/204", true
	})
	nc := r.dial()
	told, err := nc.SubscribeSync("sys.network.portal")
	if err != nil {
		t.Fatal(err)
	}
	await(t, nc, wire.DHCP)
	var ops wire.Ops
	if ask(t, nc, "sys.api.op.list", "", &ops); !slices.Equal(ops.Ops, []string{"reboot", "set-clock", "captive-portal"}) {
		t.Errorf("can %v", ops.Ops)
	}
	look := func(want wire.CaptivePortal) {
		t.Helper()
		var got wire.CaptivePortal
		if code := ask(t, nc, "sys.api.op.captive-portal", `{}`, &got); code != "" || got != want {
			t.Errorf("%s, found %+v, want %+v", code, got, want)
		}
	}
	look(wire.CaptivePortal{Result: wire.PortalCaptive, URL: web.URL + "/login"})
	loggedIn.Store(true)
	await(t, nc, wire.Operational)
	loggedIn.Store(false)
	events := []string{"captive > ok", "ok > captive"}
	for i := 0; i < len(events); {
		if i == 1 { // it is asked for, as often as what was seen just now is given
			ask(t, nc, "sys.api.op.captive-portal", `{}`, nil)
		}
		wait := patience
		if i == 1 {
			wait /= 20
		}
		m, err := told.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) && i == 1 {
			continue
		}
		var change boot.Change
		if err == nil {
			err = wire.Decode(m.Data, &change)
		}
		if err != nil {
			t.Fatalf("waiting for %s: %v", events[i], err)
		}
		if change.Old == string(wire.PortalUnknown) {
			continue // perhaps it came before anybody listened
		}
		if change.Old+" > "+change.New != events[i] || strings.Contains(change.Reason, "s3cr3t") {
			t.Errorf("told %+v, want %s", change, events[i])
		}
		i++
	}
	await(t, nc, wire.TimeValid)
	loggedIn.Store(true)
	await(t, nc, wire.Operational)
}
