package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// TestReplySubjects has answers go where they would be requests, questions or events. Nothing is triggered there.
func TestReplySubjects(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	intruder, err := nats.Connect(r.URL, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it is denied much
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(intruder.Close)
	before := state(t, nc)
	for _, reply := range []string{
		"sys.api.state.request", "sys.api.state.abort", "sys.api.op.reboot", "sys.api.blob.set.user-x.0", "sys.api.blob.empty.user-x.0", "sys.loop.0",
		"sys.state", "sys.state.DHCP", "sys.transition", "sys.notify.x", "sys.trace.request", "sys.blob.auth.0",
		"$JS.API.STREAM.DELETE.SYS_EVENTS", "$KV.SYS_BLOBS.user-x.0", "$SRV.PING", "$SYS.REQ.SERVER.PING", "muster.loop.x", "muster.again.sys.state",
		"_R_.x", "_GR_.x",
	} {
		for _, subject := range []string{"sys.api.state.get", "sys.api.blob.list", "sys.loop.0", "sys.api.nothing", "$JS.API.INFO", "$SRV.INFO"} {
			m := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(`{"reason":"intruder"}`), Header: nats.Header{"Content-Type": {"application/json"}}}
			if err := intruder.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := intruder.Flush(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		t.Error(err)
	}
	for range 3 { // whatever comes of it has to pass the endpoints first
		ask(t, nc, "sys.api.blob.list", `{}`, nil)
		ask(t, nc, "sys.api.loop.list", `{}`, nil)
	}
	after := state(t, nc)
	if after.State != before.State || after.Seq != before.Seq || after.Transition != nil {
		t.Errorf("something was triggered: %+v, before %+v", after, before)
	}
	var loops wire.Loops
	if ask(t, nc, "sys.api.loop.list", `{}`, &loops); loops.Loops[0].Depth != 0 || loops.Loops[0].Done != 0 {
		t.Errorf("a call was booked: %+v", loops)
	}
	var blobs wire.Blobs
	if ask(t, nc, "sys.api.blob.list", `{}`, &blobs); len(blobs.Blobs) != 1 {
		t.Errorf("a blob was written: %+v", blobs)
	}
}

// TestNoReply finds that a request which nobody waits for is not carried out, but for a booking.
func TestNoReply(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	publish := func(subject, text string) {
		m := &nats.Msg{Subject: subject, Data: []byte(text), Header: nats.Header{"Content-Type": {"application/json"}}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	publish("sys.api.blob.set.user-x.0", `{"data":"eA=="}`)
	publish("sys.api.state.request", `{"target":"CPD_PRE_TIME","reason":"x","fall_back":true}`)
	ran := make(chan struct{}, 1)
	if _, err := nc.Subscribe("sys.call.x", func(m *nats.Msg) {
		_ = m.Respond(nil) // the loop tells if it does not come
		ran <- struct{}{}
	}); err != nil {
		t.Fatal(err)
	}
	publish("sys.loop.0", `{"nonsense":true}`)
	publish("sys.loop.0", `{"call":"sys.call.x"}`)
	<-ran
	var meta wire.BlobMeta
	if ask(t, nc, "sys.api.blob.size.user-x.0", `{}`, &meta); meta.Revision != 0 {
		t.Errorf("the blob was written: %+v", meta)
	}
	if v := state(t, nc); v.State != wire.Operational {
		t.Errorf("the system moved to %s", v.State)
	}
	for subject, code := range map[string]string{"sys.api.blob.set.<name>.<index>": "400", "sys.api.state.request": "400", "sys.loop.<n>": "400"} {
		r.log.await(t, "request failed", "subject="+subject, "code="+code, "count=1") // by a worker of its own
	}
}

// TestImpostor speaks on every subject of the daemon's events, and listens on those where it is asked.
func TestImpostor(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	if code := ask(t, nc, "sys.api.blob.set.auth.0", `{"data":"c2VjcmV0"}`, nil); code != "" {
		t.Fatal(code)
	}
	heard, err := nc.SubscribeSync(">")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	denied := make(chan error, 64)
	intruder, err := nats.Connect(r.URL, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(intruder.Close)
	for _, subject := range []string{
		"sys.state", "sys.state.OPERATIONAL", "sys.transition", "sys.loop-error", "sys.blob.auth.0", "sys.trace.request",
		"sys.ota.done", "sys.trust.updated",
	} {
		if err := intruder.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish on %s: %v", subject, err)
		}
	}
	for _, subject := range []string{"sys.api.>", "sys.api.state.get", "sys.loop.0", "sys.loop.*", "$SRV.>", "$SRV.PING.muster"} {
		if _, err := intruder.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("subscribe on %s: %v", subject, err)
		}
	}
	for _, subject := range []string{
		"ask.x.notify.victim", "muster.again.sys.state", "muster.loop.x", "$SYS.ACCOUNT.MUSTER.DISCONNECT", "$SYS.REQ.SERVER.PING.SHUTDOWN",
		"$SYS.REQ.SERVER.PING.RELOAD", "$JS.ACK.SYS_LOOP.x.1.1.1.1.1", "_R_.abcdef", "$G.sys.state",
	} {
		if err := intruder.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	if err := intruder.Flush(); err != nil {
		t.Error(err)
	}
	cycle(t, nc)
	for {
		m, err := heard.NextMsg(100 * time.Millisecond)
		if err != nil {
			break
		}
		if string(m.Data) == "forged" && strings.HasPrefix(m.Subject, "sys.") {
			t.Errorf("forged on %s", m.Subject)
		}
	}
	for _, name := range []string{"muster", "system", "MUSTER", "UID-0", "uid:0", "SYS", "$SYS"} {
		other, err := nats.Connect(r.URL, nats.UserInfo(name, "guess"), nats.Name(`"%[1]999999s`))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := other.Request("$SYS.REQ.SERVER.PING", nil, 50*time.Millisecond); err == nil {
			t.Errorf("user %s reaches the system account: %s", name, m.Data)
		}
		var e wire.Error
		if code := ask(t, other, "sys.api.loop.cancel", `{"id":"x"}`, &e); code != "404" || !strings.Contains(e.Message, me()) {
			t.Errorf("user %s is %s", name, e.Message)
		}
		other.Close()
	}
	if lines := r.log.lines("Publish Violation"); len(lines) == 0 || len(lines) > 3 {
		t.Errorf("%d lines of the log tell of it: %v", len(lines), lines)
	}
}

// TestBytes sends to the port what is not NATS, and connects a hundred times to say nothing.
func TestBytes(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	address := strings.TrimPrefix(r.URL, "nats://")
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: muster\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", strings.Repeat("\xff", 100_000), "CONNECT {\r\n",
		"CONNECT {}\r\nPUB sys.state 999999999\r\n", "PING\r\n", "CONNECT {\"verbose\":" + strings.Repeat("[", 3000) + "}\r\n",
		"CONNECT {}\r\nSUB sys.notify.x\r\n", "CONNECT {}\r\nHPUB sys.api.state.get 9 5\r\n", "CONNECT {}\r\nPUB " + strings.Repeat("x.", 5000) + " 1\r\nx\r\n",
		"SPUB x 1\r\n", "CONNECT {}\r\nMSG x 1 1\r\nx\r\n", "INFO {}\r\n", "LS+ x\r\n", "RS+ $G x\r\n", "\r\n\r\n\r\n",
	} {
		c, err := net.Dial("tcp", address) //nolint:noctx // at once
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text) // it may be closed before the end
		if err := c.(*net.TCPConn).CloseWrite(); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); err != nil && errors.Is(err, net.ErrClosed) {
				t.Errorf("%.20q: %v", text, err)
			}
		}
		_ = c.Close() // by now the server has
	}
	for range 100 {
		c, err := net.Dial("tcp", address) //nolint:noctx // at once
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	cycle(t, nc)
	if lines := r.log.lines("msg=server"); len(lines) == 0 || len(lines) > 30 {
		t.Errorf("%d lines of the log tell of it: %v", len(lines), lines)
	}
}

// TestSlow has one client never read what it is sent. It is closed, and named in the log; nobody waits for it.
func TestSlow(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	sloth, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "nats://")) //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sloth.Close() }() // the server has
	_ = sloth.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := io.WriteString(sloth, "CONNECT {\"verbose\":false,\"name\":\"sloth\"}\r\nSUB sys.> 1\r\nSUB sloth 2\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	// What the sloth does not take soon fills what the kernel holds for it.
	data := make([]byte, 1<<20)
	slowest := time.Duration(0)
	closed := func() bool { return len(r.log.lines("level=WARN", "Slow Consumer", "sloth")) > 0 }
	deadline := time.Now().Add(2 * patience)
	for round := 0; !closed(); round++ {
		if time.Now().After(deadline) {
			t.Fatal("who never reads is not closed")
		}
		if round < 64 {
			if err := nc.Publish("sloth", data); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		cycle(t, nc)
		slowest = max(slowest, time.Since(began))
	}
	if slowest > patience/4 {
		t.Errorf("a move of the system took %v beside one who never reads", slowest)
	}
}

// TestAnswers has notifiers answer what is no answer, twice, differently, and too late.
func TestAnswers(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	huge := strings.Repeat("x", wire.MaxPayload-100)
	for name, tt := range map[string]struct {
		answers []string
		want    string // in the holder's reason; "": the move is made
	}{
		"empty":      {[]string{""}, "required key answer is missing"},
		"garbage":    {[]string{"\xff\x00garbage"}, "faulty answer"},
		"killer":     {[]string{strings.Repeat("[", 50_000)}, "faulty answer"},
		"huge":       {[]string{huge}, "faulty answer"},
		"list":       {[]string{`[]`}, "faulty answer"},
		"unknown":    {[]string{`{"answer":"perhaps"}`}, `answer is "perhaps"; accept or defer would be right`},
		"unreasoned": {[]string{`{"answer":"defer"}`}, "defer came without a reason"},
		"impatient":  {[]string{`{"answer":"defer","reason":"x","retry_us":1}`}, "retry_us is 1"},
		"wordy":      {[]string{`{"answer":"defer","reason":"` + strings.Repeat("x", 2000) + `"}`}, "reason has 2000 bytes"},
		"twice":      {[]string{`{"answer":"accept"}`, `{"answer":"accept"}`}, ""},
		"extra":      {[]string{`{"answer":"accept","reason":"why not","more":[1,2,3]}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			notifier := r.dial()
			if _, err := notifier.Subscribe("sys.notify."+name, func(m *nats.Msg) {
				for _, text := range tt.answers {
					_ = m.Respond([]byte(text)) // what comes of it is looked at
				}
			}); err != nil {
				t.Fatal(err)
			}
			if code := ask(t, notifier, "sys.api.notifier.register."+name, `{"format":"json","states":["AWAITING_MODAL_UPDATING"]}`, nil); code != "" {
				t.Fatal(code)
			}
			var o wire.StateOutcome
			ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"test"}`, &o)
			switch {
			case tt.want == "" && o.Outcome != wire.OutcomeReached:
				t.Errorf("outcome %+v", o)
			case tt.want != "" && (o.Outcome != wire.OutcomeHeld || len(o.Holders) != 1 || !strings.Contains(o.Holders[0].Reason, tt.want) || len(o.Holders[0].Reason) > 1100):
				t.Errorf("outcome %.500s", fmt.Sprint(o))
			}
			notifier.Close()
			await(t, nc, wire.AwaitingModalUpdating) // a holder that is gone holds no longer
			ask(t, nc, "sys.api.state.request", `{"target":"OPERATIONAL","reason":"back"}`, nil)
			await(t, nc, wire.Operational)
		})
	}
}

// TestManyAnswers has a notifier answer one question a hundred thousand times.
func TestManyAnswers(t *testing.T) {
	r := start(t, t.TempDir())
	nc, chatter := r.dial(), r.dial()
	await(t, nc, wire.Operational)
	if _, err := chatter.Subscribe("sys.notify.chatter", func(m *nats.Msg) {
		for range 100_000 {
			_ = m.Respond([]byte(`{"answer":"defer","reason":"and so on","retry_us":3600000000}`)) // what comes of it is looked at
		}
	}); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, chatter, "sys.api.notifier.register.chatter", `{"format":"json","states":["AWAITING_MODAL_UPDATING"]}`, nil); code != "" {
		t.Fatal(code)
	}
	var o wire.StateOutcome
	if ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"test"}`, &o); o.Outcome != wire.OutcomeHeld || len(o.Holders) != 1 || o.Holders[0].Reason != "and so on" {
		t.Errorf("outcome %+v", o)
	}
	began := time.Now()
	for range 20 {
		state(t, nc)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("20 questions about the state took %v meanwhile", took)
	}
	chatter.Close()
	await(t, nc, wire.AwaitingModalUpdating)
}
