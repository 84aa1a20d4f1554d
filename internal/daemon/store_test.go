package daemon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// TestStoreSize starts with the smallest store, fills what it keeps, makes it larger, and smaller again.
func TestStoreSize(t *testing.T) {
	dir := t.TempDir()
	size := func(bytes int64) func(*Config) { return func(c *Config) { c.Store.MaxBytes = bytes } }
	r := start(t, dir, size(minStore))
	nc := r.dial()
	await(t, nc, wire.Operational)
	data := strings.Repeat("A", wire.MaxBlob/2/3*4) // as base64
	code, set := "", 0
	for ; code == "" && set < 20; set++ {
		code = ask(t, nc, fmt.Sprintf("sys.api.blob.set.user-%d.0", set), `{"data":"`+data+`"}`, nil)
	}
	if code != "507" || set < 5 {
		t.Errorf("%d blobs of half a MiB into a quarter of %d bytes: %s", set, minStore, code)
	}
	if code := ask(t, nc, "sys.api.blob.set.user-0.0", `{"data":"c21hbGw="}`, nil); code != "" && code != "507" {
		t.Errorf("a smaller one: %s", code)
	}
	if v := state(t, nc); !v.Store.OK {
		t.Errorf("a full bucket is no failing store: %+v", v.Store)
	}
	booking := `{"call":"sys.call.x","state":"MODAL_UPDATING","durable":true,"data":"` + strings.Repeat("x", 60_000) + `"}`
	for code, set = "", 0; code == "" && set < 200; set++ {
		code = ask(t, nc, "sys.loop.0", booking, nil)
	}
	if code != "507" || set < 50 {
		t.Errorf("%d bookings of 60 000 bytes into a quarter of %d bytes: %s", set, minStore, code)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, size(4*minStore))
	if code := ask(t, r.dial(), "sys.loop.0", booking, nil); code != "" {
		t.Errorf("a booking into a larger store: %s", code)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, size(minStore))
	nc = r.dial()
	var loops wire.Loops
	var blobs wire.Blobs
	ask(t, nc, "sys.api.loop.list", `{}`, &loops)
	ask(t, nc, "sys.api.blob.list", `{}`, &blobs)
	if loops.Loops[0].Depth != set || len(blobs.Blobs) < 5 {
		t.Errorf("in a store made smaller there are %d bookings of %d, and %d blobs", loops.Loops[0].Depth, set, len(blobs.Blobs))
	}
}

// TestRemovedStreams has an administrator remove what the daemon keeps, under its feet.
func TestRemovedStreams(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	if code := ask(t, nc, "sys.api.blob.set.user-a.0", `{"data":"YQ=="}`, nil); code != "" {
		t.Fatal(code)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{wire.EventsStream, "KV_" + wire.BlobsBucket, "SYS_LOOP"} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	cycle(t, nc)
	eventually(t, "the events to be stored again", func() bool {
		store := state(t, nc).Store
		s, err := js.Stream(t.Context(), wire.EventsStream)
		if err != nil || !store.OK {
			return false
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "sys.state")
		return err == nil && strings.HasSuffix(m.Header.Get(nats.MsgIdHdr), fmt.Sprint(".", state(t, nc).Seq))
	})
	var tail wire.BlobWritten
	if code := ask(t, nc, "sys.api.blob.append.user-a.0", `{"data":"Yg=="}`, &tail); code != "" || tail.Size != 2 || tail.Revision < 2 {
		t.Errorf("append to a blob whose bucket was removed: %s %+v", code, tail)
	}
	if code := ask(t, nc, "sys.loop.0", `{"call":"sys.call.x","state":"MODAL_UPDATING","durable":true}`, nil); code != "" {
		t.Errorf("book where the stream was removed: %s", code)
	}
	changes, err := nc.SubscribeSync("sys.blob.user-a.0")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), wire.BlobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "user-a.0", "theirs"); err != nil {
		t.Fatal(err)
	}
	if _, err := changes.NextMsg(patience); err != nil {
		t.Errorf("a write to the bucket made anew is not seen: %v", err)
	}
}
