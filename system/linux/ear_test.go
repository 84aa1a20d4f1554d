package linux

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// TestEar has logind, the bus and somebody else speak, and takes each word that is passed on.
func TestEar(t *testing.T) {
	var text bytes.Buffer
	e := newEar(slog.New(slog.NewTextHandler(&text, nil)))
	var heard []bool
	says := func(sender, iface, member string, body ...any) {
		e.DeliverSignal(iface, member, &dbus.Signal{Sender: sender, Name: iface + "." + member, Body: body})
		select {
		case down, open := <-e.downs:
			if !open {
				return
			}
			heard = append(heard, down)
		default:
		}
	}
	says(":1.1", loginInterface, goingDown, true) // not known yet
	e.begin(":1.1")
	says(":1.1", loginInterface, goingDown, true)
	says(":1.1", loginInterface, goingDown, "true")
	says(":1.1", loginInterface, "SessionNew", true)
	says(":1.1", "org.example", goingDown, true)
	says(":1.9", loginInterface, goingDown, true)
	says("", loginInterface, goingDown, true)
	says(":1.9", busName, ownerChanged, loginName, ":1.1", ":1.9") // by somebody who is not the bus
	says(":1.1", loginInterface, goingDown, false)
	says(busName, busName, ownerChanged, "org.example", "", ":1.9")
	says(busName, busName, ownerChanged, loginName, ":1.1")
	says(busName, busName, "NameAcquired", ":1.5")
	says(":1.1", loginInterface, goingDown, true)
	says(busName, busName, ownerChanged, loginName, ":1.1", "")
	says(":1.1", loginInterface, goingDown, false) // it is not logind any more
	says("", loginInterface, goingDown, false)     // and nobody is
	says(busName, busName, ownerChanged, loginName, "", ":1.2")
	e.begin(":1.1") // an answer that is older than that
	says(":1.2", loginInterface, goingDown, false)
	if want := []bool{true, false, true, false}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	e.Terminate()
	e.Terminate()
	says(":1.2", loginInterface, goingDown, true)
	if log := text.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "sender=:1.1") || !strings.Contains(log, "count=6") {
		t.Errorf("logged:\n%s", log)
	}
}

// TestEarUnheard has nobody take a word: the last one is left.
func TestEarUnheard(t *testing.T) {
	e := newEar(slog.New(slog.DiscardHandler))
	e.begin(":1.1")
	for i := range 1001 {
		e.DeliverSignal(loginInterface, goingDown, &dbus.Signal{Sender: ":1.1", Body: []any{i%2 == 0}})
	}
	e.Terminate()
	if down, open := <-e.downs; !open || !down {
		t.Errorf("heard down=%v, open=%v; want the last word", down, open)
	}
	if _, open := <-e.downs; open {
		t.Error("heard one more word")
	}
}
