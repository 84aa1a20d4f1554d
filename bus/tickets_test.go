package bus_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

// TestTickets connects as a web page does.
func TestTickets(t *testing.T) {
	b := bustest.Open(t, func(o *bus.Options) { o.WebSocket.Listen = "127.0.0.1:0" })
	ticket, err := b.Ticket(t.Context(), wire.Caller{}, wire.TicketWish{Role: "observer"})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(ticket.URL, nats.UserInfo(ticket.User, ticket.Password))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	who, err := b.Who(t.Context(), wire.Caller{}, wire.Empty{})
	if err != nil || len(who.Connections) != 1 || who.Connections[0].Via != "ticket" || who.Connections[0].UID != nil || who.Connections[0].Roles[0] != "observer" {
		t.Errorf("who: %+v, %v", who, err)
	}
	// The kernel would vouch for this process, but not over this way in.
	for name, opts := range map[string][]nats.Option{
		"nothing":        nil,
		"wrong password": {nats.UserInfo(ticket.User, "x")},
		"another user":   {nats.UserInfo("ticket-2", ticket.Password)},
		"an empty place": {nats.UserInfo("ticket-2", "")},
		"the daemon's":   {nats.UserInfo("muster", ticket.Password)},
	} {
		if nc, err := nats.Connect(ticket.URL, opts...); err == nil {
			nc.Close()
			t.Errorf("with %s: let in", name)
		}
	}
	// A page of another origin does not come as far as a password.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(ticket.URL, "ws", "http", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{
		"Origin": {"http://elsewhere.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("another origin: %s", answer.Status)
	}
}

// TestTicketEnds shows that a ticket ends what it began.
func TestTicketEnds(t *testing.T) {
	b := bustest.Open(t, func(o *bus.Options) { o.WebSocket.Listen = "127.0.0.1:0" })
	ticket, err := b.Ticket(t.Context(), wire.Caller{}, wire.TicketWish{Role: "observer", TTL: wire.MinTicket})
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan struct{}, 1)
	nc, err := nats.Connect(ticket.URL, nats.UserInfo(ticket.User, ticket.Password), nats.NoReconnect(),
		nats.ClosedHandler(func(*nats.Conn) { lost <- struct{}{} }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	select {
	case <-lost:
	case <-time.After(patience):
		t.Fatal("the connection outlives its ticket")
	}
	if again, err := nats.Connect(ticket.URL, nats.UserInfo(ticket.User, ticket.Password)); err == nil {
		again.Close()
		t.Error("an expired ticket was taken")
	}
}

// TestTicketRefusals asks for what there is not.
func TestTicketRefusals(t *testing.T) {
	b := bustest.Open(t, func(o *bus.Options) { o.WebSocket.Listen = "127.0.0.1:0" })
	if _, err := b.Ticket(t.Context(), wire.Caller{}, wire.TicketWish{Role: "emperor"}); wire.AsError(err).Code != wire.CodeNotFound {
		t.Errorf("no such role: %v", err)
	}
	var err error
	for n := 0; err == nil; n++ {
		if _, err = b.Ticket(t.Context(), wire.Caller{}, wire.TicketWish{Role: "observer"}); n > 100 {
			t.Fatal("any number of tickets")
		}
	}
	if wire.AsError(err).Code != wire.CodeTooMany {
		t.Errorf("too many: %v", err)
	}
	if _, err := bustest.Open(t).Ticket(t.Context(), wire.Caller{}, wire.TicketWish{Role: "observer"}); wire.AsError(err).Code != wire.CodeUnsupported {
		t.Errorf("no web pages: %v", err)
	}
}
