package daemon

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// TestFlood has many clients send the largest messages there are as fast as they can. What the daemon cannot take is
// answered with 503 by the server; everybody else is served, and nobody misses an event.
func TestFlood(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	events, err := nc.SubscribeSync("sys.transition")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	seq := state(t, nc).Seq

	var flood sync.WaitGroup
	ended := make(chan struct{})
	for range 6 {
		flooder := r.dial()
		flood.Go(func() {
			data := make([]byte, wire.MaxPayload-1024)
			for range 60 {
				if err := errors.Join(flooder.PublishRequest("sys.api.state.get", nats.NewInbox(), data), flooder.Flush()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		flood.Wait()
		close(ended)
	}()
	asked, refused := 0, 0
	for running := true; running; asked++ {
		select {
		case <-ended:
			running = false
		default:
		}
		if _, err := nc.Request("sys.api.state.get", nil, patience); err != nil {
			refused++
		}
		if asked%50 == 0 {
			m := nats.NewMsg("sys.api.state.request")
			m.Header.Set("Content-Type", "application/json")
			m.Data = []byte(`{"target":"CPD_PRE_TIME","reason":"flood","fall_back":true}`)
			if _, err := nc.RequestMsg(m, patience); err != nil && !errors.Is(err, nats.ErrNoResponders) {
				t.Fatal(err)
			}
		}
	}
	if refused > asked/2 {
		t.Errorf("%d of %d questions were refused", refused, asked)
	}
	await(t, nc, wire.Operational)
	last := state(t, nc).Seq
	for seq < last-2 { // the last two are the state's own
		m, err := events.NextMsg(patience)
		if err != nil {
			t.Fatalf("no event after number %d of %d: %v", seq, last, err)
		}
		var e wire.Transition
		if err := wire.Decode(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.Seq > seq+3 {
			t.Errorf("event %d follows %d", e.Seq, seq)
		}
		seq = e.Seq
	}
	if lost := r.log.lines("bus connection", "closed"); len(lost) > 0 {
		t.Errorf("the daemon's own connection was closed: %v", lost)
	}
	if v := state(t, nc); !v.Store.OK || v.Store.Missed != 0 {
		t.Errorf("store %+v", v.Store)
	}
	if counted := r.log.lines("request failed", "subject=sys.api.state.get", "code=413", "count=1"); len(counted) == 0 {
		t.Error("no line in the log tells of the requests that were too large")
	}
}

// answers counts the codes of that many answers on a subject.
func answers(t *testing.T, sub *nats.Subscription, many int) map[string]int {
	t.Helper()
	codes := map[string]int{}
	for range many {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("%v after %v", err, codes)
		}
		codes[m.Header.Get("Nats-Service-Error-Code")]++
	}
	return codes
}

// TestManyRegistrations has one connection register ten thousand notifiers. It gets as many as an identity may have and
// is told so, quickly, and everybody else is answered meanwhile.
func TestManyRegistrations(t *testing.T) {
	r := start(t, t.TempDir())
	nc, greedy := r.dial(), r.dial()
	await(t, nc, wire.Operational)
	const many = 10_000
	inbox := nats.NewInbox()
	replies, err := greedy.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if _, err := greedy.Subscribe(fmt.Sprintf("sys.notify.n%d", i), func(m *nats.Msg) {
			_ = m.Respond([]byte(`{"answer":"accept"}`)) // the connection closes at the end
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := greedy.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if err := greedy.PublishRequest(fmt.Sprintf("sys.api.notifier.register.n%d", i), inbox, nil); err != nil {
			t.Fatal(err)
		}
	}
	counted := make(chan map[string]int, 1)
	go func() { counted <- answers(t, replies, many) }()
	asked := 0
	var codes map[string]int
	for codes == nil {
		select {
		case codes = <-counted:
		default:
			asked++
			state(t, nc)
		}
	}
	if codes["429"] == 0 || codes["429"]+codes[""] != many || codes[""] > 1024 {
		t.Errorf("answers by code: %v", codes)
	}
	if asked == 0 {
		t.Error("nobody else was answered meanwhile")
	}
	if lines := r.log.lines("request failed", "notifier.register", "code=429"); len(lines) == 0 || len(lines) > 5 {
		t.Errorf("%d lines in the log: %v", len(lines), lines)
	}
	greedy.Close()
	eventually(t, "the notifiers to be gone", func() bool {
		var list wire.Notifiers
		ask(t, nc, "sys.api.notifier.list", "", &list)
		return len(list.Notifiers) == 0
	})
	cycle(t, nc)
}

// TestManySubscriptions has one connection subscribe to a notifier's subject again and again.
func TestManySubscriptions(t *testing.T) {
	r := start(t, t.TempDir())
	nc, greedy := r.dial(), r.dial()
	await(t, nc, wire.Operational)
	for range 5000 {
		if _, err := greedy.SubscribeSync("sys.notify.crowd"); err != nil {
			t.Fatal(err)
		}
	}
	if err := greedy.Flush(); err != nil {
		t.Fatal(err)
	}
	var e wire.Error
	if code := ask(t, greedy, "sys.api.notifier.register.crowd", `{}`, &e); code != "409" || e.Message != "5000 subscriptions on sys.notify.crowd; exactly one would be right" {
		t.Errorf("%s %s", code, e.Message)
	}
	if _, err := nc.Subscribe("sys.notify.one", func(m *nats.Msg) { _ = m.Respond([]byte(`{"answer":"accept"}`)) }); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.api.notifier.register.one", `{"format":"json"}`, nil); code != "" {
		t.Errorf("another one: %s", code)
	}
	cycle(t, nc)
}

// TestManyWishes has wishes wait by the thousand. A connection takes its own places only, and gives them back when it
// closes.
func TestManyWishes(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	if _, err := nc.Subscribe("sys.notify.holder", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"answer":"defer","reason":"the test"}`))
	}); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.api.notifier.register.holder", `{"format":"json","states":["AWAITING_MODAL_UPDATING"]}`, nil); code != "" {
		t.Fatal(code)
	}
	wish := []byte(`{"target":"AWAITING_MODAL_UPDATING","reason":"test","wait_us":300000000,"limit_us":600000000}`)
	var greedy []*nats.Conn
	for range 5 {
		g := r.dial()
		greedy = append(greedy, g)
		inbox := nats.NewInbox()
		replies, err := g.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			m := &nats.Msg{Subject: "sys.api.state.request", Reply: inbox, Data: wish, Header: nats.Header{"Content-Type": {"application/json"}}}
			if err := g.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		// Those that wait are as many as a connection, or the machine, lets wait; all others are answered.
		if codes := answers(t, replies, 1000-256); codes["429"] != 1000-256 {
			t.Errorf("answers by code: %v", codes)
		}
	}
	if code := ask(t, nc, "sys.api.state.request", string(wish), nil); code != "429" {
		t.Errorf("one more, while all places are taken: %s", code)
	}
	if v := state(t, nc); v.Transition == nil || len(v.Transition.Holders) != 1 {
		t.Errorf("the transition is %+v", v.Transition)
	}
	for _, g := range greedy {
		g.Close()
	}
	quick := `{"target":"AWAITING_MODAL_UPDATING","reason":"test"}`
	eventually(t, "the places to be free", func() bool { return ask(t, nc, "sys.api.state.request", quick, nil) == "" })
	if code := ask(t, nc, "sys.api.state.abort", `{"reason":"the test is over"}`, nil); code != "" {
		t.Errorf("abort: %s", code)
	}
}

// TestManyBookings books calls that never run, with as much data as a request carries.
func TestManyBookings(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	book := func(id int) string {
		data, err := wire.Encode(wire.Booking{
			Call: "sys.call.never", State: wire.ModalUpdating, ID: fmt.Sprint("b", id), Data: append([]byte{0xc5, 0xea, 0x60}, make([]byte, 60_000)...),
		})
		if err != nil {
			t.Fatal(err)
		}
		return request(t, nc, "sys.loop.0", "", data).Header.Get("Nats-Service-Error-Code")
	}
	code, booked := "", 0
	for ; code == "" && booked < 1000; booked++ {
		code = book(booked)
	}
	if code != "429" || booked < 500 || booked > 600 {
		t.Errorf("after %d bookings with 60 000 bytes each: %s", booked, code)
	}
	if code := ask(t, nc, "sys.api.loop.cancel", `{"id":"b0"}`, nil); code != "" {
		t.Errorf("cancel: %s", code)
	}
	if code := book(booked); code != "" {
		t.Errorf("after one was canceled: %s", code)
	}
}
