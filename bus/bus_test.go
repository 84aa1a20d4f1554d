package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

const patience = 5 * time.Second

// request asks with MessagePack, or with JSON when the payload is a text.
func request(t *testing.T, nc *nats.Conn, subject string, payload any) *nats.Msg {
	t.Helper()
	m := nats.NewMsg(subject)
	switch payload := payload.(type) {
	case string:
		m.Data = []byte(payload)
		m.Header.Set("Content-Type", "application/json")
	case []byte:
		m.Data = payload
	}
	answer, err := nc.RequestMsg(m, patience)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return answer
}

// self is the identity that this process has: that of its user.
var self = "uid:" + strconv.Itoa(os.Geteuid())

func TestHandle(t *testing.T) {
	b := bustest.Open(t)
	callers := make(chan wire.Caller, 1)
	err := errors.Join(
		bus.Handle(b, wire.StateGet, func(_ context.Context, c wire.Caller, _ wire.Empty) (wire.StateView, error) {
			select {
			case callers <- c:
			default:
			}
			return wire.StateView{State: wire.DHCP}, nil
		}),
		bus.Handle(b, wire.BlobGet, func(_ context.Context, _ wire.Caller, r wire.BlobRange) (wire.BlobPart, error) {
			if r.Name == "panic" {
				panic("at the disco")
			}
			return wire.BlobPart{Data: []byte(r.Name), Offset: r.Offset, Size: int64(r.Index)}, nil
		}),
		bus.Handle(b, wire.StateRequest, func(ctx context.Context, _ wire.Caller, _ wire.StateWish) (wire.StateOutcome, error) {
			<-ctx.Done()
			return wire.StateOutcome{}, wire.Errorf(wire.CodeStopping, "stopping")
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)

	var view wire.StateView
	if err := wire.Decode(request(t, nc, "sys.api.state.get", nil).Data, &view); err != nil || view.State != wire.DHCP {
		t.Errorf("state.get: %+v, %v", view, err)
	}
	if got := <-callers; got.Identity != self {
		t.Errorf("caller is %+v, want %s", got, self)
	}
	answer := request(t, nc, "sys.api.blob.get.user-x.3", `{"offset":2}`)
	if want := `{"data":"dXNlci14","offset":2,"size":3,"revision":0,"source":""}`; string(answer.Data) != want {
		t.Errorf("JSON: %s", answer.Data)
	}
	for _, tt := range []struct {
		subject string
		payload any
		code    string
		text    string
	}{
		{"sys.api.blob.get.x.0", `{"offset":"a"}`, "400", `offset is "a"; an integer would be right`},
		{"sys.api.blob.get.x.0", []byte{0xdd, 0xff, 0xff, 0xff, 0xff}, "400", "announces 4294967295 values"},
		{"sys.api.blob.get.x.y", nil, "400", "<index> in the subject"},
		{"sys.api.blob.get.panic.0", nil, "500", "a fault in the daemon"},
		{"sys.api.state.get", bytes.Repeat([]byte{0}, wire.MaxRequest+1), "413", "takes at most 65536"},
	} {
		answer := request(t, nc, tt.subject, tt.payload)
		if answer.Header.Get("Nats-Service-Error-Code") != tt.code || !strings.Contains(answer.Header.Get("Nats-Service-Error"), tt.text) {
			t.Errorf("%s: %v", tt.subject, answer.Header)
		}
		var fault wire.Error
		read := wire.Decode
		if _, ok := tt.payload.(string); ok {
			read = wire.DecodeJSON
		}
		if err := read(answer.Data, &fault); err != nil || !strings.Contains(fault.Message, tt.text) {
			t.Errorf("%s: body %+v, %v", tt.subject, fault, err)
		}
	}
	if b.Faults() != 5 {
		t.Errorf("%d faults counted, want 5", b.Faults())
	}
	if _, err := nc.Request("sys.api.state.get", bytes.Repeat([]byte{0}, wire.MaxPayload+1), patience); err == nil {
		t.Error("a message above the server's limit went through")
	}

	// One that waits does not keep the bus from closing.
	if err := nc.PublishRequest("sys.api.state.request", nats.NewInbox(), []byte{0x80}); err != nil {
		t.Fatal(err)
	}
}

// TestEventsComeFirst sees every event that was kept before an answer come before it.
func TestEventsComeFirst(t *testing.T) {
	b := bustest.Open(t)
	const events = 100
	if err := bus.Handle(b, wire.StateGet, func(context.Context, wire.Caller, wire.Empty) (view wire.StateView, err error) {
		for range events {
			view.Seq = b.Keep(wire.TransitionTopic, &wire.Transition{Kind: wire.KindProposed}).Seq
		}
		return view, nil
	}); err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)
	sub, err := nc.SubscribeSync(wire.TransitionTopic)
	if err != nil {
		t.Fatal(err)
	}
	for round := 1; round <= 20; round++ {
		var view wire.StateView
		if err := wire.Decode(request(t, nc, "sys.api.state.get", nil).Data, &view); err != nil || view.Seq != uint64(round*events) {
			t.Fatalf("answer %+v, %v", view, err)
		}
		if got, _, err := sub.Pending(); err != nil || got != round*events {
			t.Fatalf("%d events are here when the answer comes, want %d; %v", got, round*events, err)
		}
	}
}

// TestForgery tries to speak as the daemon, or as somebody else, with what a client has.
func TestForgery(t *testing.T) {
	b := bustest.Open(t)
	callers := make(chan wire.Caller, 10)
	if err := bus.Handle(b, wire.StateAbort, func(_ context.Context, c wire.Caller, _ wire.Abort) (wire.Aborted, error) {
		callers <- c
		return wire.Aborted{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	violations := make(chan string, 10)
	nc := bustest.Dial(t, b, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err.Error() }))
	cid, _ := nc.GetClientID()

	for _, name := range []string{"Nats-Request-Info", "nats-request-info", "NATS-REQUEST-INFO"} {
		m := nats.NewMsg("sys.api.state.abort")
		m.Header[name] = []string{`{"acc":"MUSTER","id":1,"user":"root"}`}
		m.Header.Set("Content-Type", "application/json")
		m.Data = []byte(`{"reason":"x"}`)
		if _, err := nc.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
		if c := <-callers; c.Conn != cid || c.Identity != self {
			t.Errorf("header %s made the caller %+v", name, c)
		}
	}

	for _, subject := range []string{"sys.state", "sys.state.OPERATIONAL", "sys.transition", "sys.trace.request", "sys.blob.auth.0", "sys.loop-error"} {
		if err := nc.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		if got := <-violations; !strings.Contains(strings.ToLower(got), "permissions violation") {
			t.Errorf("publish on %s: %s", subject, got)
		}
	}
	for _, subject := range []string{"sys.api.state.get", "sys.api.>", "sys.loop.0", "$SRV.PING"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if got := <-violations; !strings.Contains(strings.ToLower(got), "permissions violation") {
			t.Errorf("subscribe on %s: %s", subject, got)
		}
	}

	// A reply subject that is an endpoint steers no answer into a request.
	m := nats.NewMsg("sys.api.state.abort")
	m.Reply, m.Data = "sys.api.state.abort", []byte(`{"reason":"x"}`)
	m.Header.Set("Content-Type", "application/json")
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	request(t, nc, "sys.api.state.abort", `{"reason":"last"}`)
	if n := len(callers); n > 2 {
		t.Errorf("%d calls came of one request and one that replies to an endpoint", n)
	}

	// The system account's and other users' names open nothing over TCP.
	for _, user := range []string{"muster", "system"} {
		other := bustest.Dial(t, b, nats.UserInfo(user, "guess"))
		if _, err := other.Request("$SYS.REQ.SERVER.PING", nil, 200*time.Millisecond); err == nil {
			t.Errorf("user %s reaches the system account", user)
		}
	}
}

// TestForgedHeader speaks as root with headers whose lines end in ways that the server does not look for: what it says
// itself of the connection is then read after what the client says, or not at all.
func TestForgedHeader(t *testing.T) {
	weak := bustest.NewKey(t)
	b := openWith(t, weak.Role("weak", "blob:write:x"))
	callers := make(chan wire.Caller, 10)
	if err := bus.Handle(b, wire.BlobEmpty, func(_ context.Context, c wire.Caller, _ wire.BlobKey) (wire.BlobEmptied, error) {
		callers <- c
		return wire.BlobEmptied{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	root := bustest.Dial(t, b)
	cid, _ := root.GetClientID()
	raw := bustest.DialRaw(t, b.URL())
	raw.Connect(weak)
	raw.Say("SUB _INBOX.a 1\r\n")
	forged := fmt.Sprintf(`Nats-Request-Info: {"acc":"UID-0","id":%d,"user":"uid:0"}`, cid)
	for _, header := range []string{
		"NATS/1.0\r\n\r\n", // an honest one
		"NATS/1.0\r\n" + forged + "\r\n\r\n",
		"NATS/1.0\n" + forged + "\r\n\r\n",
		"NATS/1.0\r\nX: y\n" + forged + "\r\n\r\n",
		"NATS/1.0\r\nX: y\n" + forged + "\n\nX: y\r\n\r\n",
		"NATS/1.0\r\n\r\n" + forged + "\r\n\r\n",
		"NATS/1.0\r\nX: y\n" + forged + "\nX: yAB",
		"NATS/1.0\n" + forged + "\n\n",
	} {
		raw.Say("HPUB sys.api.blob.empty.x.0 _INBOX.a %d %d\r\n%s\r\n", len(header), len(header), header)
		for answered := false; !answered; {
			line, err := raw.Line()
			if err != nil {
				t.Fatal(err)
			}
			answered = strings.Contains(line, "MSG _INBOX.a")
		}
		for len(callers) > 0 {
			if c := <-callers; c.Identity != weak.Who() || c.Conn == cid {
				t.Errorf("header %q made the caller %+v", header, c)
			}
		}
	}
}

func TestAsk(t *testing.T) {
	b := bustest.Open(t)
	nc := bustest.Dial(t, b)
	cid, _ := nc.GetClientID()
	if _, err := nc.Subscribe("sys.notify.twice", func(m *nats.Msg) {
		_ = m.Respond([]byte("one")) // the test sees what comes of it
		_ = m.Respond([]byte("two"))
	}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan *nats.Msg, 1)
	if _, err := nc.Subscribe("sys.notify.silent", func(m *nats.Msg) { asked <- m }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		data string
		err  error
	}
	answers := make(chan answer, 4)
	ask := func(subject string) func() {
		return b.Ask(bus.Peer{Identity: self, Conn: cid, Subject: subject, Format: wire.FormatJSON}, []byte("?"),
			func(data []byte, err error) { answers <- answer{string(data), err} })
	}
	forget := ask("sys.notify.twice")
	if a, c := <-answers, <-answers; a.data != "one" || c.data != "two" {
		t.Errorf("got %v and %v, want both answers", a, c)
	}
	forget()
	defer ask("sys.notify.nobody")()
	if a := <-answers; !errors.Is(a.err, bus.ErrGone) {
		t.Errorf("nobody there: %v", a)
	}
	defer ask("sys.notify.silent")()
	if m := <-asked; m.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the question's header: %v", m.Header)
	}
	gone := make(chan uint64, 1)
	b.OnGone(func(conn uint64) { gone <- conn })
	nc.Close()
	if a := <-answers; !errors.Is(a.err, bus.ErrGone) {
		t.Errorf("connection closed: %v", a)
	}
	if conn := <-gone; conn != cid || b.Alive(cid) {
		t.Errorf("told that %d is gone; %d is alive: %v", conn, cid, b.Alive(cid))
	}
}

func TestSubscribers(t *testing.T) {
	b := bustest.Open(t)
	one, two := bustest.Dial(t, b), bustest.Dial(t, b)
	cid, _ := one.GetClientID()
	other, _ := two.GetClientID()
	subscribe := func(nc *nats.Conn, subject string) {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(subject string, want ...uint64) {
		t.Helper()
		for _, conn := range []uint64{cid, other, 0} { // whoever asks
			got, err := b.Subscribers(wire.Caller{Identity: self, Conn: conn}, subject)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, asked by connection %d: %v, %v; want %v", subject, conn, got, err, want)
			}
		}
	}
	check("sys.notify.x")
	subscribe(one, "sys.notify.y")
	check("sys.notify.y", cid)
	for i, wildcard := range []string{"*.notify.w0", "sys.*.w1", "sys.notify.*", "sys.>", "*.*.w4"} {
		subject := fmt.Sprintf("sys.notify.w%d", i)
		subscribe(two, wildcard)
		subscribe(one, subject)
		check(subject, cid)
		subscribe(two, subject)
		check(subject, cid, other)
	}
	check("sys.notify.x")
	subscribe(two, ">")
	check("sys.notify.x")
	subscribe(one, "sys.notify.x")
	check("sys.notify.x", cid)
	check("sys.notify.y", cid)
	subscribe(two, "sys.notify.x")
	check("sys.notify.x", cid, other)
	if got, err := b.Subscribers(wire.Caller{Identity: "nobody"}, "sys.notify.x"); len(got) != 0 || err != nil {
		t.Errorf("an unknown identity: %v, %v", got, err)
	}
}

func TestJournal(t *testing.T) {
	b := bustest.Open(t)
	nc := bustest.Dial(t, b)
	live, err := nc.SubscribeSync("sys.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	const count = 500
	for i := range count {
		b.Keep("sys.state", &wire.StateEvent{Number: i})
		b.Tell("sys.loop-error", &wire.LoopError{})
	}
	for i := range count {
		m, err := live.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var e wire.StateEvent
		if err := wire.Decode(m.Data, &e); err != nil || e.Seq != uint64(i+1) || e.Number != i || e.Boot != "1-test" {
			t.Fatalf("event %d is %+v, %v", i, e, err)
		}
		if m, err := live.NextMsg(patience); err != nil || m.Subject != "sys.loop-error" {
			t.Fatalf("after event %d: %v, %v", i, m, err)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "every event to be stored", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == count
	})
	last, err := s.GetLastMsgForSubject(t.Context(), "sys.state")
	if err != nil || last.Header.Get(nats.MsgIdHdr) != "1-test.500" {
		t.Errorf("last: %v, %v", last, err)
	}
	if h := b.Health(); !h.OK || h.Missed != 0 || b.Seq() != count {
		t.Errorf("health %+v, seq %d", h, b.Seq())
	}
}

// wait looks again and again for something that happens behind, without a message that tells it.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

func TestDeliver(t *testing.T) {
	b := bustest.Open(t)
	nc := bustest.Dial(t, b)
	for _, subject := range []string{"_INBOX.abc.def", "sys.done.x"} {
		sub, err := nc.SubscribeSync(subject)
		if err != nil || nc.Flush() != nil {
			t.Fatal(err)
		}
		if err := b.Deliver(bus.Peer{Identity: self, Subject: subject, Format: wire.FormatJSON}, wire.Done{ID: "7", OK: true}); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(patience)
		if err != nil || !strings.HasPrefix(string(m.Data), `{"id":"7","ok":true`) {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
	if err := b.Deliver(bus.Peer{Identity: "nobody", Subject: "sys.done.x"}, wire.Done{}); !errors.Is(err, bus.ErrGone) {
		t.Errorf("to nobody: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, opts := range map[string]bus.Options{
		"address already in use":     {Dir: t.TempDir(), Listen: l.Addr().String()},
		"not a directory":            {Dir: file, Listen: "127.0.0.1:0"},
		"a loopback address such as": {Dir: t.TempDir(), Listen: "0.0.0.0:0"},
		"missing port":               {Dir: t.TempDir(), Listen: "here"},
	} {
		opts.Clock = bustest.Clock{}
		if b, err := bus.Open(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
			if err == nil {
				_ = b.Close()
			}
		}
	}
}

// TestStock has the listing of micro services, and the store by a client library that knows nothing of muster.
func TestStock(t *testing.T) {
	b := bustest.Open(t)
	if err := bus.Handle(b, wire.StateGet, func(context.Context, wire.Caller, wire.Empty) (wire.StateView, error) {
		return wire.StateView{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)
	info, err := nc.Request("$SRV.INFO.muster", nil, patience)
	if err != nil || !strings.Contains(string(info.Data), `"sys.api.state.get"`) {
		t.Errorf("micro info: %v, %v", info, err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "scratch"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	w, err := kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-w.Updates():
		if e == nil || string(e.Value()) != "b" {
			t.Errorf("watch: %v", e)
		}
	case <-time.After(patience):
		t.Error("the store pushes nothing into the administrator's account")
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

// TestSocketFolder has the bus refuse to put its socket where somebody else could put another.
func TestSocketFolder(t *testing.T) {
	shared := t.TempDir()
	for mode, want := range map[os.FileMode]string{
		0o777: "has mode 0777", 0o775: "others may put a socket of their own there; 0755 would be right", os.ModeSticky | 0o777: "", 0o700: "",
	} {
		if err := os.Chmod(shared, mode); err != nil {
			t.Fatal(err)
		}
		b, err := bus.Open(bus.Options{
			Dir: t.TempDir(), Listen: "127.0.0.1:0", Clock: bustest.Clock{}, Socket: bus.Socket{Path: shared + "/bus.sock"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Listen(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %v: %v, want %q", mode, err, want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
