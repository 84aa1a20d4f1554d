package bus_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

func TestTrace(t *testing.T) {
	b := bustest.Open(t)
	if err := errors.Join(
		bus.Handle(b, wire.StateAbort, func(context.Context, wire.Caller, wire.Abort) (wire.Aborted, error) {
			return wire.Aborted{}, wire.Conflict("no")
		}),
		bus.Handle(b, wire.BlobSet, func(context.Context, wire.Caller, wire.BlobWrite) (wire.BlobWritten, error) {
			return wire.BlobWritten{Size: 6, Revision: 3}, nil
		}),
		bus.Handle(b, wire.BlobGet, func(context.Context, wire.Caller, wire.BlobRange) (wire.BlobPart, error) {
			return wire.BlobPart{Data: []byte("secret"), Size: 6}, nil
		}),
		bus.Handle(b, wire.NotifierRegister, func(context.Context, wire.Caller, wire.Registration) (wire.Joined, error) {
			return wire.Joined{Subject: "sys.notify.x", Session: "secret"}, nil
		}),
		bus.Handle(b, wire.AccessTicket, func(context.Context, wire.Caller, wire.TicketWish) (wire.Ticket, error) {
			return wire.Ticket{User: "ticket-1", Password: "secret", Role: "observer"}, nil
		})); err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)
	if _, err := nc.Subscribe("sys.>", func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond([]byte(`{"answer":"defer","reason":"later","data":"secret"}`)) // the trace shows it
		}
	}); err != nil {
		t.Fatal(err)
	}
	request(t, nc, "sys.api.state.abort", `{"reason":"before"}`) // nobody listens yet, but to everything
	sub, err := nc.SubscribeSync("sys.trace.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	next := func(kind, subject string, code wire.Code, payload string) {
		t.Helper()
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var trace wire.Trace
		if err := wire.Decode(m.Data, &trace); err != nil {
			t.Fatal(err)
		}
		text, err := wire.EncodeJSON(trace.Payload)
		if err != nil || string(trace.Kind) != kind || trace.Subject != subject || trace.Identity != self || trace.Code != code || string(text) != payload {
			t.Errorf("%+v with %s, %v; want %s on %s with %s", trace, text, err, kind, subject, payload)
		}
		if bytes.Contains(m.Data, []byte("secret")) {
			t.Errorf("a secret is in a trace: %s", hex.Dump(m.Data))
		}
	}
	request(t, nc, "sys.api.state.abort", `{"reason":"seen"}`)
	next("request", "sys.api.state.abort", 0, `{"reason":"seen"}`)
	next("answer", "sys.api.state.abort", wire.CodeConflict, `{"code":409,"message":"no"}`)
	request(t, nc, "sys.api.blob.set.auth.0", `{"data":"c2VjcmV0","revision":2}`)
	next("request", "sys.api.blob.set.auth.0", 0, `{"revision":2}`)
	next("answer", "sys.api.blob.set.auth.0", 0, `{"size":6,"revision":3}`)
	request(t, nc, "sys.api.blob.get.auth.0", nil)
	next("request", "sys.api.blob.get.auth.0", 0, `null`)
	next("answer", "sys.api.blob.get.auth.0", 0, `{"offset":0,"revision":0,"size":6,"source":""}`)
	request(t, nc, "sys.api.notifier.register.x", `{"session":"secret","order":4}`)
	next("request", "sys.api.notifier.register.x", 0, `{"order":4}`)
	next("answer", "sys.api.notifier.register.x", 0, `{"state":"UNKNOWN","subject":"sys.notify.x"}`)
	request(t, nc, "sys.api.access.ticket", `{"role":"observer"}`)
	next("request", "sys.api.access.ticket", 0, `{"role":"observer"}`)
	next("answer", "sys.api.access.ticket", 0, `{"expires_at_us":0,"role":"observer","url":"","user":"ticket-1"}`)

	for subject, want := range map[string]string{"sys.notify.x": `{"answer":"defer","reason":"later"}`, "sys.call.x": `null`} {
		answered := make(chan struct{})
		forget := b.Ask(bus.Peer{Identity: self, Subject: subject, Format: wire.FormatJSON}, []byte(`{"id":"7","data":"secret"}`),
			func([]byte, error) { close(answered) })
		next("question", subject, 0, `{"id":"7"}`)
		next("answer", subject, 0, want)
		<-answered
		forget()
	}
}

// TestSlowTracer has somebody listen to traces and not read them. They are dropped, and the others told how many.
func TestSlowTracer(t *testing.T) {
	b := bustest.Open(t)
	if err := bus.Handle(b, wire.StateAbort, func(context.Context, wire.Caller, wire.Abort) (wire.Aborted, error) {
		return wire.Aborted{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)
	sloth, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "nats://")) //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sloth.Close() }() // the server may have
	if _, err := io.WriteString(sloth, "CONNECT {\"verbose\":false}\r\nSUB sys.trace.> 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(sloth, make([]byte, 10)); err != nil { // it is let in
		t.Fatal(err)
	}
	dropped := make(chan uint64, 1)
	if _, err := nc.Subscribe("sys.trace.>", func(m *nats.Msg) {
		var trace wire.Trace
		if wire.Decode(m.Data, &trace) == nil && trace.Dropped > 0 {
			select {
			case dropped <- trace.Dropped:
			default:
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	payload := `{"reason":"x","more":"` + strings.Repeat("x", 3900) + `"}`
	for range 3000 { // which is more than the kernel holds for it
		request(t, nc, "sys.api.state.abort", payload)
	}
	go func() { _, _ = io.Copy(io.Discard, sloth) }() // it wakes up; the end of the test closes it
	deadline := time.After(4 * patience)
	for count := uint64(0); count == 0; {
		for range 100 {
			request(t, nc, "sys.api.state.abort", payload)
		}
		select {
		case count = <-dropped:
		case <-deadline:
			t.Fatal("nothing was ever dropped")
		default:
		}
	}
}
