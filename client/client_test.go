package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

const patience = 10 * time.Second

// host is a daemon that can be stopped and started again on the same folder and address.
type host struct {
	t      testing.TB
	config daemon.Config
	url    string
	stop   func()
}

func newHost(t testing.TB, change ...func(*daemon.Config)) *host {
	t.Helper()
	h := &host{t: t, config: daemon.DefaultConfig()}
	h.config.Dir, h.config.Listen = t.TempDir(), "127.0.0.1:0"
	h.config.Hold["CONTEXT_DESTROYING"] = daemon.Hold{Limit: 1, OnLimit: wire.LimitProceed}
	for _, f := range change {
		f(&h.config)
	}
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *host) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan daemon.RunFile, 1), make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() {
		done <- daemon.Run(ctx, h.config, daemon.Options{Log: log, Ready: func(f daemon.RunFile) { ready <- f }})
	}()
	select {
	case f := <-ready:
		h.url = f.URL
		h.config.Listen = strings.TrimPrefix(f.URL, "nats://")
	case err := <-done:
		h.t.Fatal(err)
	}
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
}

func (h *host) dial(name string) *client.Client {
	h.t.Helper()
	c, err := client.Connect(h.t.Context(), h.url, client.Options{Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestWatchAndRequest(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("watcher"), soon(t)
	must[wire.StateEvent](t)(c.WaitFor(ctx, wire.Operational))
	var seen []wire.State
	for event, err := range c.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, event.State)
		if len(seen) == 1 { // the watch is under way
			out := must[wire.StateOutcome](t)(c.Request(ctx, wire.StateWish{Target: wire.DHCP, Reason: "the cable is out", FallBack: true}))
			if out.Outcome != wire.OutcomeReached {
				t.Fatalf("outcome %+v", out)
			}
		} else if event.State == wire.Operational {
			break
		}
	}
	if want := wire.States()[wire.DHCP : wire.Operational+1]; !slices.Equal(seen[1:], want) || seen[0] != wire.Operational {
		t.Errorf("saw %v, want OPERATIONAL and then %v", seen, want)
	}
}

func TestNotifier(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("backup"), soon(t)
	must[wire.StateEvent](t)(c.WaitFor(ctx, wire.Operational))
	var busy atomic.Bool
	busy.Store(true)
	n := must[*client.Notifier](t)(c.Register(ctx, "backup", func(_ context.Context, q wire.Question) wire.Answer {
		if busy.Load() {
			return client.Defer("a backup runs")
		}
		return client.Accept()
	}, client.NotifierOptions{States: []wire.State{wire.AwaitingModalUpdating}, About: "nightly backup"}))
	wish := wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "an update"}
	out := must[wire.StateOutcome](t)(c.Request(ctx, wish))
	if out.Outcome != wire.OutcomeHeld || len(out.Holders) != 1 || out.Holders[0].Reason != "a backup runs" {
		t.Fatalf("outcome %+v", out)
	}
	busy.Store(false)
	if held, err := n.Resume(ctx); err != nil || !held {
		t.Fatalf("resume: %v, %v", held, err)
	}
	must[wire.StateEvent](t)(c.WaitFor(ctx, wire.AwaitingModalUpdating))
	if held, err := n.Resume(ctx); err != nil || held {
		t.Errorf("resume of nothing: %v, %v", held, err)
	}
	if _, err := c.Register(ctx, "backup", nil, client.NotifierOptions{}); !errors.Is(err, &wire.Error{Code: wire.CodeConflict}) {
		t.Errorf("a second registration: %v", err)
	}
	if _, err := c.Register(ctx, "back.up", nil, client.NotifierOptions{}); !errors.Is(err, &wire.Error{Code: wire.CodeMalformed}) {
		t.Errorf("a name with a dot: %v", err)
	}
	if err := n.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if list := must[wire.Notifiers](t)(client.Call(ctx, c, wire.NotifierList, wire.Empty{})); len(list.Notifiers) != 0 {
		t.Errorf("after leaving: %+v", list)
	}
}

// TestRestart stops the daemon and starts it again: the notifier takes its place again, the watch goes on, the offer
// stands, and what was booked in memory is known to be lost.
func TestRestart(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("survivor"), soon(t)
	must[wire.StateEvent](t)(c.WaitFor(ctx, wire.Operational))
	asked := make(chan wire.Question, 64)
	must[*client.Notifier](t)(c.Register(ctx, "survivor", func(_ context.Context, q wire.Question) wire.Answer {
		asked <- q
		return client.Accept()
	}, client.NotifierOptions{}))
	ran := make(chan struct{}, 1)
	must[func()](t)(c.Offer(ctx, "lent", func(context.Context, wire.Call) (any, error) {
		ran <- struct{}{}
		return nil, nil
	}))
	lost := must[*client.Booked](t)(c.Attach(ctx, func(context.Context, wire.Call) (any, error) { return nil, nil }, wire.Booking{State: wire.ModalUpdating}))
	states := make(chan wire.StateEvent, 64)
	watching, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		for event, err := range c.Watch(watching) {
			if err != nil {
				t.Error(err)
				return
			}
			states <- event
		}
	})
	first := <-states
	h.stop()
	h.start()
	if _, err := lost.Wait(ctx); !errors.Is(err, client.ErrRestarted) {
		t.Errorf("what was lost: %v", err)
	}
	for event := range states {
		if event.Boot != first.Boot && event.State == wire.Operational {
			break
		}
	}
	for q := <-asked; !strings.HasPrefix(q.ID, "2-"); q = <-asked { // of the second boot
	}
	other := h.dial("other")
	for { // until the offer stands again
		b := must[*client.Booked](t)(other.Book(ctx, wire.Booking{Call: "sys.call.lent"}))
		if _, err := b.Wait(ctx); err == nil {
			break
		}
	}
	<-ran
	stop()
	group.Wait()
}

func TestAttach(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("worker"), soon(t)
	b := must[*client.Booked](t)(c.Attach(ctx, func(_ context.Context, call wire.Call) (any, error) {
		var n int
		err := call.Data.Into(&n)
		return map[string]int{"twice": 2 * n}, err
	}, wire.Booking{State: wire.Operational, Data: must[wire.Raw](t)(wire.RawOf(21))}))
	done := must[wire.Done](t)(b.Wait(ctx))
	var result struct {
		Twice int `json:"twice"`
	}
	if err := done.Result.Into(&result); err != nil || result.Twice != 42 {
		t.Errorf("result %+v, %v", result, err)
	}
	failing := must[*client.Booked](t)(c.Attach(ctx, func(context.Context, wire.Call) (any, error) {
		return nil, errors.New("no paper")
	}, wire.Booking{}))
	if _, err := failing.Wait(ctx); err == nil || !strings.Contains(err.Error(), "no paper") {
		t.Errorf("a failed call: %v", err)
	}
	never := must[*client.Booked](t)(c.Attach(ctx, nil, wire.Booking{State: wire.ModalUpdating}))
	if err := never.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := never.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
}

// TestByHand asks a participant in JSON, as people do.
func TestByHand(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("by-hand"), soon(t)
	stop := must[func()](t)(c.Handle("greet", func(_ context.Context, call wire.Call) (any, error) {
		var name string
		if err := call.Data.Into(&name); err != nil {
			return nil, err
		}
		return map[string]string{"hello": name}, nil
	}))
	defer stop()
	if answer, err := c.CallJSON(ctx, "sys.call.greet", []byte(`{"data":"bus"}`)); err != nil || string(answer) != `{"hello":"bus"}` {
		t.Errorf("answered %s, %v", answer, err)
	}
	if answer, err := c.CallJSON(ctx, "sys.call.greet", []byte(`{"data":7}`)); err == nil || !strings.Contains(err.Error(), "7") {
		t.Errorf("answered %s, %v; want an error that names 7", answer, err)
	}
}

func TestBlob(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("blobs"), soon(t)
	serial := c.Blob("device-serial", 0)
	changes := make(chan wire.BlobEvent, 1)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for event, err := range serial.Watch(ctx) {
			if err != nil {
				t.Error(err)
			}
			changes <- event
			return
		}
	})
	revision := must[uint64](t)(serial.CompareAndSet(ctx, []byte("SN-"), 0))
	must[wire.BlobWritten](t)(serial.Append(ctx, []byte("0815")))
	if data, _, err := serial.Get(ctx); err != nil || string(data) != "SN-0815" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := serial.CompareAndSet(ctx, nil, revision); !errors.Is(err, &wire.Error{Code: wire.CodeConflict}) {
		t.Errorf("a stale revision: %v", err)
	}
	if part := must[wire.BlobPart](t)(serial.Read(ctx, 3, 2)); string(part.Data) != "08" || part.Size != 7 {
		t.Errorf("part %+v", part)
	}
	if meta := must[wire.BlobMeta](t)(serial.Size(ctx)); meta.Size != 7 || meta.Source != wire.SourceKV {
		t.Errorf("size %+v", meta)
	}
	list := must[[]wire.BlobView](t)(c.Blobs(ctx))
	if !slices.ContainsFunc(list, func(v wire.BlobView) bool { return v.Name == "device-serial" && v.Size == 7 }) {
		t.Errorf("list %+v", list)
	}
	for empty := false; !empty; { // until the watch, which began beside all this, has heard of one
		must[uint64](t)(serial.Empty(ctx))
		select {
		case <-changes:
			empty = true
		case <-ctx.Done():
			t.Fatal("no event")
		default:
		}
	}
	if _, _, err := c.Blob("serial", 0).Get(ctx); !errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
		t.Errorf("no such blob: %v", err)
	}
}

func TestPublish(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("smd"), soon(t)
	got := make(chan client.Message, 1)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for m, err := range c.Listen(ctx, "network.>") {
			if err != nil {
				t.Error(err)
			}
			got <- m
			return
		}
	})
	var m client.Message
	again := time.NewTicker(5 * time.Millisecond) // until the listener, which began beside all this, has heard one
	defer again.Stop()
	for m.Subject == "" {
		if err := c.Publish("network.link", map[string]any{"interface": "eth0", "up": true}); err != nil {
			t.Fatal(err)
		}
		select {
		case m = <-got:
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("nothing heard")
		}
	}
	var link struct {
		Interface string `json:"interface"`
		Up        bool   `json:"up"`
	}
	if err := m.Into(&link); err != nil || link.Interface != "eth0" || !link.Up || m.At == 0 || m.Mono == 0 {
		t.Errorf("message %+v, %+v, %v", m, link, err)
	}
	for _, what := range []string{"network", "weather.rain", "user.8.x", "user.x", "user.10.x", ""} {
		if err := c.Publish(what, nil); !errors.Is(err, &wire.Error{Code: wire.CodeMalformed}) {
			t.Errorf("publish %q: %v", what, err)
		}
	}
	if err := c.Publish("user.7.big", map[string]any{"x": strings.Repeat("x", wire.MaxSMD)}); !errors.Is(err, &wire.Error{Code: wire.CodeTooLarge}) {
		t.Errorf("too large: %v", err)
	}
}

// TestSocket connects without the network.
func TestSocket(t *testing.T) {
	h := newHost(t)
	h.stop()
	dir, err := os.MkdirTemp("", "muster-*") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h.config.Socket.Path = dir + "/bus.sock"
	h.start()
	c, err := client.Connect(t.Context(), "unix://"+h.config.Socket.Path, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must[wire.StateEvent](t)(c.WaitFor(soon(t), wire.Operational))
	ruling := must[wire.AccessRuling](t)(client.Call(soon(t), c, wire.AccessCan, wire.AccessQuery{Right: "op:reboot"}))
	if !ruling.Allowed || ruling.Identity != fmt.Sprintf("uid:%d", os.Geteuid()) {
		t.Errorf("ruling %+v", ruling)
	}
	who := must[wire.Connections](t)(client.Call(soon(t), c, wire.AccessWho, wire.Empty{}))
	if len(who.Connections) != 1 || who.Connections[0].Via != "unix" || who.Connections[0].PID != os.Getpid() {
		t.Errorf("who %+v", who)
	}
}

// TestPatience connects before the daemon is there.
func TestPatience(t *testing.T) {
	h := newHost(t)
	h.stop()
	if _, err := client.Connect(t.Context(), h.url, client.Options{}); err == nil {
		t.Fatal("connected to nobody")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Connect(ctx, h.url, client.Options{Patient: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of patience: %v", err)
	}
	connected, url, patient := make(chan error, 1), h.url, soon(t)
	go func() {
		c, err := client.Connect(patient, url, client.Options{Patient: true})
		if err == nil {
			_, err = c.WaitFor(patient, wire.Operational)
			c.Close()
		}
		connected <- err
	}()
	h.start()
	if err := <-connected; err != nil {
		t.Error(err)
	}
}

// TestNobody asks a bus on which there is no muster.
func TestNobody(t *testing.T) {
	h := newHost(t)
	c, ctx := h.dial("asker"), soon(t)
	if _, err := c.CallJSON(ctx, "sys.api.weather.get", nil); !errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("no such endpoint: %v", err)
	}
	answer := must[[]byte](t)(c.CallJSON(ctx, "sys.api.state.get", nil))
	if !strings.Contains(string(answer), `"protocol":1`) {
		t.Errorf("answer %s", answer)
	}
	if _, err := c.CallJSON(ctx, "sys.api.state.request", []byte(`{}`)); !errors.Is(err, &wire.Error{Code: wire.CodeMalformed}) || !strings.Contains(err.Error(), "target") {
		t.Errorf("refusal: %v", err)
	}
	c.Close()
	if _, err := c.State(ctx); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// newKey makes a key, and gives its public part and what connects with it.
func newKey(t testing.TB) (name string, as client.Options) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if name, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return name, client.Options{NATS: []nats.Option{nats.Nkey(name, key.Sign)}}
}

// TestBookAlone books as somebody who has the right to that, and no other.
func TestBookAlone(t *testing.T) {
	name, as := newKey(t)
	h := newHost(t, func(c *daemon.Config) {
		c.Roles = []access.Role{{Name: "booker", Who: []string{"nkey:" + name}, May: []string{"loop:book"}}}
	})
	c, err := client.Connect(t.Context(), h.url, as)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := soon(t)
	for range 2 {
		b := must[*client.Booked](t)(c.Attach(ctx, func(context.Context, wire.Call) (any, error) { return nil, nil }, wire.Booking{}))
		if done, err := b.Wait(ctx); err != nil || !done.OK {
			t.Errorf("%+v, %v", done, err)
		}
	}
}

// TestRefused connects with a key that no role names.
func TestRefused(t *testing.T) {
	h := newHost(t)
	_, as := newKey(t)
	_, err := client.Connect(t.Context(), h.url, as)
	if !errors.Is(err, client.ErrRefused) {
		t.Errorf("a stranger's key: %v; want %v", err, client.ErrRefused)
	}
}
