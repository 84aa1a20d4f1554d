package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

type wallClock struct{}

func (wallClock) Now() (wire.UnixMicros, wire.MonoMicros) {
	return wire.At(time.Now()), wire.MonoMicros(time.Now().UnixMicro())
}

func openTest(t *testing.T) *Bus {
	t.Helper()
	b, err := Open(Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Boot: "1-test", Clock: wallClock{}, Key: "encrypted"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited for %s", what)
		case <-tick.C:
		}
	}
}

// TestReopen has the store opened anew while events, blobs and bookings are written.
func TestReopen(t *testing.T) {
	b := openTest(t)
	k, err := b.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q, err := b.Queue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 16)
	go k.Watch(t.Context(), func(key string, revision uint64) { seen <- fmt.Sprint(key, "@", revision) })
	if _, err := k.Put(t.Context(), "user-a.0", []byte("old"), "d", 0); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "user-a.0@1" {
		t.Errorf("watched %s", got)
	}
	b.Keep("sys.state", &wire.StateEvent{})

	b.store.fails(errors.New("no room"))
	until(t, "the failure to be noted", func() bool { return !b.Health().OK })
	var full *wire.Error
	if _, err := k.Put(t.Context(), "user-a.0", []byte("new"), "d", 1); !errors.As(err, &full) || full.Code != wire.CodeStoreFull {
		t.Errorf("a blob: %v", err)
	}
	if err := q.Put(t.Context(), "i.a", nil); !errors.As(err, &full) || full.Code != wire.CodeStoreFull {
		t.Errorf("a booking: %v", err)
	}
	for range 100 {
		b.Keep("sys.state", &wire.StateEvent{})
		b.Keep("sys.transition", &wire.Transition{})
	}
	until(t, "the store to be opened anew", func() bool { return b.Health().OK })
	s, err := b.js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	// On a slow machine the store is there again while events still come: those of before may then be overtaken, and count.
	missed := b.Health().Missed
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs+missed != 201 {
		t.Errorf("%+v are stored, %d are missed, %v", info.State, missed, err)
	}
	if got := <-seen; got != "user-a.0@1" {
		t.Errorf("watched again: %s", got)
	}
	if _, err := k.Put(t.Context(), "user-a.0", []byte("new"), "d", 1); err != nil {
		t.Error(err)
	}
	if got := <-seen; got != "user-a.0@2" {
		t.Errorf("watched %s", got)
	}
	if err := q.Put(t.Context(), "i.a", nil); err != nil {
		t.Error(err)
	}
}

// TestOvertaken has an event that was not stored come after a newer one of its subject that was.
func TestOvertaken(t *testing.T) {
	b := openTest(t)
	js, j := b.js, &b.journal
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{ // which takes no state for a while
		Name: wire.EventsStream, Subjects: []string{"sys.transition", againPrefix + ">"}, Duplicates: time.Minute,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: againPrefix + ">", Destination: ">"}, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b.Keep("sys.state", &wire.StateEvent{Number: i})
	}
	until(t, "the refusals", func() bool { return !b.Health().OK })
	if h := b.Health(); h.Missed != 3 {
		t.Errorf("%d of 3 count as missed", h.Missed)
	}
	// The newest is stored, by a way that the journal does not know of.
	j.mu.Lock()
	newest := j.topics["sys.state"].waiting[2]
	j.mu.Unlock()
	m := &nats.Msg{Subject: againPrefix + "sys.state", Data: newest.data, Header: nats.Header{nats.MsgIdHdr: []string{"1-test.3"}}}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	until(t, "the journal to be done", func() bool { return b.Health().OK })
	if h := b.Health(); h.Missed != 2 {
		t.Errorf("%d were given up, want the 2 that were overtaken", h.Missed)
	}
	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	var e wire.StateEvent
	if last, err := s.GetLastMsgForSubject(t.Context(), "sys.state"); err != nil || wire.Decode(last.Data, &e) != nil || e.Number != 2 {
		t.Errorf("the last state is %+v, %v", e, err)
	}
}

// TestPendings has more events wait than may: old ones are given up, never the newest of a subject.
func TestPendings(t *testing.T) {
	j := &journal{pending: map[uint64]*kept{}, topics: map[string]*topic{}}
	for seq := range uint64(3 * maxPendings) {
		subject := "sys.transition"
		if seq%100 == 0 {
			subject = "sys.state"
		}
		j.await(&kept{seq: seq, subject: subject})
	}
	state, moves := j.topics["sys.state"].waiting, j.topics["sys.transition"].waiting
	if len(j.pending) != maxPendings || len(state)+len(moves) != maxPendings || j.missed != 2*maxPendings {
		t.Errorf("%d wait, %d and %d by subject; %d are missed", len(j.pending), len(state), len(moves), j.missed)
	}
	if len(state) != 3*maxPendings/100+1 || moves[len(moves)-1].seq != 3*maxPendings-1 {
		t.Errorf("%d states wait, the newest move is %d", len(state), moves[len(moves)-1].seq)
	}
}

func TestWriteErrors(t *testing.T) {
	s := newStore(Options{Dir: t.TempDir()})
	for want, give := range map[wire.Code]error{
		wire.CodeStoreFull: &jetstream.APIError{ErrorCode: storeFailed, Description: "maximum bytes exceeded"},
		wire.CodeTimeout:   context.DeadlineExceeded,
		wire.CodeInternal:  errors.New("anything else"),
	} {
		err := s.write(t.Context(), func(context.Context) error { return give })
		if wire.AsError(err).Code != want {
			t.Errorf("%v is told as %v", give, err)
		}
	}
	err := s.write(t.Context(), func(ctx context.Context) error { // a write under way ends with the store
		s.fails(errors.New("no room"))
		<-ctx.Done()
		return ctx.Err()
	})
	if wire.AsError(err).Code != wire.CodeStoreFull {
		t.Errorf("a write under way: %v", err)
	}
}

// TestStateStays keeps so much else that the state would fall out of the stream.
func TestStateStays(t *testing.T) {
	b, err := Open(Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Boot: "1-test", Clock: wallClock{}, MaxStore: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Keep("sys.state", &wire.StateEvent{Number: 7})
	const many, size = 600, 20_000 // three times what the stream holds
	for range many {
		b.Keep("sys.transition", &wire.Transition{Reason: strings.Repeat("x", size)})
	}
	until(t, "everything to be stored", func() bool {
		b.journal.mu.Lock()
		defer b.journal.mu.Unlock()
		return len(b.journal.pending) == 0
	})
	s, err := b.js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs > many*2/3 {
		t.Errorf("%d are stored, %v: the stream is not full", info.State.Msgs, err)
	}
	var e wire.StateEvent
	if m, err := s.GetLastMsgForSubject(t.Context(), "sys.state"); err != nil || wire.Decode(m.Data, &e) != nil || e.Number != 7 || e.Seq != 1 {
		t.Errorf("the state is %+v, %v", e, err)
	}
	b.Keep("sys.state", &wire.StateEvent{Number: 8})
	until(t, "the next state to be stored", func() bool {
		m, err := s.GetLastMsgForSubject(t.Context(), "sys.state")
		return err == nil && wire.Decode(m.Data, &e) == nil && e.Number == 8
	})
}
