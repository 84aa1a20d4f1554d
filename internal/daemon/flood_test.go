package daemon

import (
	"errors"
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
