package bus_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"muster/bus"
	"muster/bus/bustest"
)

func TestBucket(t *testing.T) {
	b := bustest.Open(t)
	k, err := b.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(t.Context(), "auth.0"); !errors.Is(err, bus.ErrNoRecord) {
		t.Errorf("nothing there: %v", err)
	}
	first, err := k.Put(t.Context(), "auth.0", []byte("one"), "d1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Put(t.Context(), "auth.0", []byte("two"), "d2", 0); !errors.Is(err, bus.ErrStale) {
		t.Errorf("a stale revision: %v", err)
	}
	second, err := k.Put(t.Context(), "auth.0", []byte("two"), "d2", first)
	if err != nil || second <= first {
		t.Errorf("revision %d after %d, %v", second, first, err)
	}
	if r, err := k.Get(t.Context(), "auth.0"); err != nil || string(r.Value) != "two" || r.Digest != "d2" || r.Revision != second || r.Deleted {
		t.Errorf("got %+v, %v", r, err)
	}
	if last, err := k.LastRevision(t.Context()); err != nil || last != second {
		t.Errorf("last revision %d, %v", last, err)
	}

	// Another client of the key-value API reads it, and its own writes are seen.
	changes := make(chan string, 8)
	go k.Watch(t.Context(), func(key string, _ uint64) { changes <- key }) // ends with the test
	js, err := jetstream.New(bustest.Dial(t, b))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "SYS_BLOBS")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "auth.0"); err != nil || string(e.Value()) != "two" {
		t.Errorf("by key-value: %v, %v", e, err)
	}
	wait(t, "the watch to see another client's write", func() bool {
		if _, err := kv.PutString(t.Context(), "user-x.0", "theirs"); err != nil {
			t.Fatal(err)
		}
		return len(changes) > 0
	})
	if err := kv.Delete(t.Context(), "user-x.0"); err != nil {
		t.Fatal(err)
	}
	if r, err := k.Get(t.Context(), "user-x.0"); err != nil || !r.Deleted {
		t.Errorf("a deletion: %+v, %v", r, err)
	}
	keys, err := k.Keys(t.Context())
	if slices.Sort(keys); err != nil || !slices.Equal(keys, []string{"auth.0", "user-x.0"}) {
		t.Errorf("keys %v, %v", keys, err)
	}
}

func TestQueue(t *testing.T) {
	dir := t.TempDir()
	at := func(o *bus.Options) { o.Dir = dir }
	b := bustest.Open(t, at)
	q, err := b.Queue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"i.a", "i.b", "i.c"} {
		if err := q.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(q.Delete("i.b"), q.Delete("i.never")); err != nil {
		t.Fatal(err)
	}
	nc := bustest.Dial(t, b)
	if err := errors.Join(nc.Publish("muster.loop.i.forged", []byte("x")), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := bustest.Open(t, at)
	if q, err = again.Queue(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, keys, err := q.Load(t.Context())
	if err != nil || !slices.Equal(keys, []string{"i.a", "i.c"}) || string(data["i.c"]) != "i.c" {
		t.Errorf("loaded %v %v, %v", data, keys, err)
	}
	if err := q.Delete("i.a"); err != nil {
		t.Error(err)
	}
}
