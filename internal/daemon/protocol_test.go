package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// TestEvents reads the story of a boot and one move from the stream, as a late joiner does.
func TestEvents(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	if code := ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"new firmware","wait_us":1000000}`, nil); code != "" {
		t.Fatal(code)
	}
	view := state(t, nc)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "every event to be stored", func() bool { return storedOf(t, js, r.Boot) == view.Seq })

	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.Storage != jetstream.FileStorage || c.MaxAge != 0 || c.MaxBytes <= 0 || c.MaxMsgsPerSubject <= 0 || c.Discard != jetstream.DiscardOld {
		t.Errorf("the stream is %+v", c)
	}
	var states []wire.StateEvent
	var told []wire.Transition
	mono := wire.MonoMicros(0)
	for i, m := range kept(t, js) {
		var stamp struct{ wire.Stamp }
		var event wire.StateEvent
		var move wire.Transition
		if m.Subject == "sys.transition" {
			err = wire.Decode(m.Data, &move)
			stamp.Stamp, told = move.Stamp, append(told, move)
		} else {
			err = wire.Decode(m.Data, &event)
			stamp.Stamp = event.Stamp
		}
		if err != nil || stamp.Boot != r.Boot || stamp.Seq != uint64(i+1) || stamp.Mono < mono || time.Since(stamp.At.Time()).Abs() > time.Minute {
			t.Errorf("event %d on %s is stamped %+v, %v", i+1, m.Subject, stamp, err)
		}
		if m.Header.Get(nats.MsgIdHdr) != fmt.Sprintf("%s.%d", r.Boot, i+1) {
			t.Errorf("event %d has the message id %s", i+1, m.Header.Get(nats.MsgIdHdr))
		}
		mono = stamp.Mono
		switch {
		case m.Subject == "sys.state":
			states = append(states, event)
		case strings.HasPrefix(m.Subject, "sys.state."):
			committed := told[len(told)-1]
			if m.Subject != "sys.state."+event.State.String() || committed.Kind != wire.KindCommitted || committed.ID != event.ID || committed.To != event.State {
				t.Errorf("event %d on %s is %+v, after %+v", i+1, m.Subject, event, committed)
			}
		}
	}
	at := wire.Unknown
	for i, e := range states {
		switch {
		case i == 0 && (e.State != wire.Unknown || e.ID != ""):
			t.Errorf("the first state is %+v", e)
		case i > 0 && (e.From != at || e.ID == "" || e.Reason == "" || e.Number != int(e.State)):
			t.Errorf("state %d is %+v, after %s", i, e, at)
		}
		at = e.State
	}
	if last := states[len(states)-1]; len(states) != 17 || last.State != wire.AwaitingModalUpdating || last.Goal != wire.AwaitingModalUpdating || last.Reason != "new firmware" {
		t.Errorf("%d states, the last is %+v", len(states), last)
	}
}

// TestForms asks in every form that there is, and looks at the form of what comes back, and of what is asked.
func TestForms(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	for _, tt := range []struct {
		content string
		isJSON  bool
	}{{"", false}, {"application/msgpack", false}, {"application/json", true}, {"Application/JSON; charset=utf-8", true}} {
		form := ""
		if tt.isJSON {
			form = "application/json"
		}
		for _, empty := range [][]byte{nil, {}} {
			answer := request(t, nc, "sys.api.state.get", tt.content, empty)
			isJSON := len(answer.Data) > 0 && answer.Data[0] == '{'
			if isJSON != tt.isJSON || answer.Header.Get("Content-Type") != form || answer.Header.Get("Nats-Service-Error-Code") != "" {
				t.Errorf("asked as %q: %v %.80q", tt.content, answer.Header, answer.Data)
			}
		}
		refusal(t, request(t, nc, "sys.api.blob.get.nonsense.0", tt.content, nil), wire.CodeNotFound, tt.isJSON)
	}
	asked := make(chan *nats.Msg, 2)
	for name, registration := range map[string]string{"json": `{"format":"json","order":1}`, "msgpack": `{"order":2}`} {
		if _, err := nc.Subscribe("sys.notify."+name, func(m *nats.Msg) {
			asked <- m
			answer, _ := wire.Encode(wire.Answer{Answer: wire.Accept}) // it can be
			if strings.HasSuffix(m.Subject, "json") {
				answer = []byte(`{"answer":"accept"}`)
			}
			_ = m.Respond(answer) // else the move is held, which is seen
		}); err != nil {
			t.Fatal(err)
		}
		if code := ask(t, nc, "sys.api.notifier.register."+name, registration, nil); code != "" {
			t.Fatal(code)
		}
	}
	var o wire.StateOutcome
	if ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"forms"}`, &o); o.Outcome != wire.OutcomeReached {
		t.Errorf("outcome %+v", o)
	}
	first, second := <-asked, <-asked
	var q, p wire.Question
	if err := wire.DecodeJSON(first.Data, &q); err != nil || first.Header.Get("Content-Type") != "application/json" || q.Reason != "forms" || q.Round != 1 || q.ID != o.ID {
		t.Errorf("the JSON notifier is asked %s with %v, %v", first.Data, first.Header, err)
	}
	if err := wire.Decode(second.Data, &p); err != nil || len(second.Header) != 0 || p != q {
		t.Errorf("the other is asked %+v with %v, %v", p, second.Header, err)
	}
}

// TestOperations does what the simulated platform can do.
func TestOperations(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	var ops wire.Ops
	if code := ask(t, nc, "sys.api.op.list", "", &ops); code != "" || ops.Platform != "sim" || !slices.Equal(ops.Ops, []string{"reboot", "set-clock"}) {
		t.Errorf("ops: %s %+v", code, ops)
	}
	before := state(t, nc)
	day := wire.InMicros(24 * time.Hour)
	var set wire.ClockSet
	text := fmt.Sprintf(`{"at_us":%d,"source":"test"}`, before.At+wire.UnixMicros(day))
	if code := ask(t, nc, "sys.api.op.set-clock", text, &set); code != "" || set.After-set.Before < wire.UnixMicros(day)-60e6 {
		t.Errorf("set-clock: %s %+v", code, set)
	}
	if after := state(t, nc); after.At < set.After || after.Mono-before.Mono > 60e6 {
		t.Errorf("after the clock was set a day ahead: %+v, before %+v", after, before)
	}
	var portal wire.CaptivePortal
	if code := ask(t, nc, "sys.api.op.captive-portal", `{}`, &portal); code != "" || portal.Result != "unknown" {
		t.Errorf("captive-portal: %s %+v", code, portal)
	}
	var o wire.StateOutcome
	if code := ask(t, nc, "sys.api.op.reboot", `{"reason":"test","dry_run":true}`, &o); code != "" || o.State != wire.Operational {
		t.Errorf("reboot, dry: %s %+v", code, o)
	}
	if v := state(t, nc); v.State != wire.Operational || v.Transition != nil {
		t.Errorf("a dry reboot moves the system: %+v", v)
	}
}

// TestBlobs plays the table of requests against the real bucket.
func TestBlobs(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	get := func(text string) (part wire.BlobPart, code string) {
		t.Helper()
		return part, ask(t, nc, "sys.api.blob.get.mqtt-username.0", text, &part)
	}
	if p, code := get(`{}`); code != "" || len(p.Data) != 0 || p.Revision != 0 || p.Source != wire.SourceKV {
		t.Errorf("nothing set: %s %+v", code, p)
	}
	var w wire.BlobWritten
	write := func(verb, text, want string) {
		t.Helper()
		if code := ask(t, nc, "sys.api.blob."+verb+".mqtt-username.0", text, &w); code != want {
			t.Errorf("%s %s: %s", verb, text, code)
		}
	}
	write("set", `{"data":"YWJj","revision":7}`, "409")
	write("set", `{"data":"YWJj","revision":0}`, "")
	first := w.Revision
	write("set", `{"data":"YWJj","revision":0}`, "409")
	write("append", `{"data":"ZGVm"}`, "")
	if w.Size != 6 || w.Revision <= first {
		t.Errorf("append: %+v after revision %d", w, first)
	}
	for text, want := range map[string]string{
		`{}`: "abcdef", `{"offset":2}`: "cdef", `{"offset":2,"length":2}`: "cd", `{"length":0}`: "", `{"offset":5,"length":99}`: "f",
	} {
		if p, code := get(text); code != "" || string(p.Data) != want || p.Size != 6 || p.Revision != w.Revision {
			t.Errorf("get %s: %s %+v", text, code, p)
		}
	}
	if _, code := get(`{"offset":6}`); code != "400" {
		t.Errorf("an offset at the end: %s", code)
	}
	write("empty", `{}`, "")
	if p, code := get(`{"offset":0}`); code != "" || len(p.Data) != 0 || p.Revision != w.Revision {
		t.Errorf("an empty blob from 0: %s %+v", code, p)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), wire.BlobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := nc.SubscribeSync("sys.blob.mqtt-username.0")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	change := func(what string) wire.BlobEvent {
		t.Helper()
		var e wire.BlobEvent
		if m, err := changes.NextMsg(patience); err != nil || wire.Decode(m.Data, &e) != nil || e.Boot != r.Boot || e.At == 0 || e.Mono == 0 || e.Seq != 0 {
			t.Errorf("%s: event %+v, %v", what, e, err)
		}
		return e
	}
	if _, err := kv.Update(t.Context(), "mqtt-username.0", []byte("theirs"), w.Revision); err != nil {
		t.Fatal(err)
	}
	adopted := change("another client's write")
	if p, code := get(`{}`); code != "" || string(p.Data) != "theirs" || p.Revision != adopted.Revision || adopted.Size != 6 {
		t.Errorf("adopted: %s %+v, told %+v", code, p, adopted)
	}
	if err := kv.Delete(t.Context(), "mqtt-username.0"); err != nil {
		t.Fatal(err)
	}
	if e := change("another client's deletion"); e.Size != 0 || e.Revision <= adopted.Revision {
		t.Errorf("deleted: %+v", e)
	}
	if p, code := get(`{}`); code != "" || len(p.Data) != 0 || p.Revision != 0 {
		t.Errorf("deleted: %s %+v", code, p)
	}
	write("set", `{"data":"YWJj","revision":0}`, "")
	var list wire.Blobs
	if ask(t, nc, "sys.api.blob.list", "", &list); len(list.Blobs) != 2 || list.Blobs[0].Name != "mqtt-username" || list.Blobs[1].Source != wire.SourceDefault {
		t.Errorf("list: %+v", list)
	}
}
