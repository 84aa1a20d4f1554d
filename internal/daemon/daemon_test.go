package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

const patience = 10 * time.Second

// running is a daemon in this process.
type running struct {
	RunFile
	t    *testing.T
	log  *logged
	stop func() error // has it end
	wait func() error // until it ends
}

// logged is what the daemon has logged so far.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // is closed when there is more; nil: nobody waits for it
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.text.Write(line)
}

// await waits for a line that holds all of the texts.
func (l *logged) await(t *testing.T, texts ...string) {
	t.Helper()
	for over := time.After(patience); ; {
		l.mu.Lock()
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if len(l.lines(texts...)) > 0 {
			return
		}
		select {
		case <-more:
		case <-over:
			t.Fatalf("no line in the log with %q", texts)
		}
	}
}

// lines gives those that hold all of the texts.
func (l *logged) lines(texts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

func start(t *testing.T, dir string, change ...func(*Config)) *running {
	t.Helper()
	return startWith(t, dir, Options{}, change...)
}

// startWith starts a daemon that is given more than its configuration.
func startWith(t *testing.T, dir string, opts Options, change ...func(*Config)) *running {
	t.Helper()
	config := DefaultConfig()
	config.Dir, config.Listen = dir, "127.0.0.1:0"
	for _, f := range change {
		f(&config)
	}
	r := &running{t: t, log: &logged{}}
	opts.Log = slog.New(slog.NewMultiHandler(slog.NewTextHandler(r.log, nil),
		slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan RunFile, 1), make(chan error, 1)
	opts.Ready = func(f RunFile) { ready <- f }
	go func() { done <- Run(ctx, config, opts) }()
	stopped := false
	r.stop = func() error {
		cancel()
		return r.wait()
	}
	r.wait = func() error {
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	select {
	case r.RunFile = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) dial() *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(r.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// ask sends JSON, as a person with the nats command would, and gives the answer and its error code.
func ask(t *testing.T, nc *nats.Conn, subject, text string, into any) string {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(text)
	m.Header.Set("Content-Type", "application/json")
	answer, err := nc.RequestMsg(m, patience)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Data, into); err != nil {
			t.Fatalf("%s: %s: %v", subject, answer.Data, err)
		}
	}
	return answer.Header.Get("Nats-Service-Error-Code")
}

func state(t *testing.T, nc *nats.Conn) (view wire.StateView) {
	t.Helper()
	ask(t, nc, "sys.api.state.get", "", &view)
	return view
}

// await listens to the state until it is there.
func await(t *testing.T, nc *nats.Conn, want wire.State) {
	t.Helper()
	sub, err := nc.SubscribeSync("sys.state")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed by then
	for state(t, nc).State != want {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatalf("waiting for %s: %v; the system is in %s", want, err, state(t, nc).State)
		}
	}
}

func TestBootAndNotifier(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	if v := state(t, nc); v.Boot != r.Boot || v.Protocol != 1 || !strings.HasPrefix(v.Boot, "1-") {
		t.Errorf("view %+v", v)
	}
	verdict := make(chan string, 8)
	if _, err := nc.Subscribe("sys.notify.backup", func(m *nats.Msg) { _ = m.Respond([]byte(<-verdict)) }); err != nil {
		t.Fatal(err)
	}
	var joined wire.Joined
	if code := ask(t, nc, "sys.api.notifier.register.backup", `{"format":"json"}`, &joined); code != "" || joined.Subject != "sys.notify.backup" {
		t.Fatalf("register: %s %+v", code, joined)
	}
	verdict <- `{"answer":"defer","reason":"copying"}`
	var held wire.StateOutcome
	ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"test"}`, &held)
	if held.Outcome != wire.OutcomeHeld || len(held.Holders) != 1 || held.Holders[0].Reason != "copying" {
		t.Errorf("held: %+v", held)
	}
	if code := ask(t, nc, "sys.api.state.request", `{"target":"DHCP","reason":"x","fall_back":true,"limit_us":-5}`, nil); code != "400" {
		t.Errorf("a negative limit: %s", code)
	}
	verdict <- `{"answer":"accept"}`
	if code := ask(t, nc, "sys.api.state.resume.backup", `{}`, nil); code != "" {
		t.Errorf("resume: %s", code)
	}
	await(t, nc, wire.AwaitingModalUpdating)
	var history wire.History
	ask(t, nc, "sys.api.state.history", `{}`, &history)
	if len(history.Boots) != 1 || len(history.Events) < 30 {
		t.Errorf("history: %+v", history.Boots)
	}
}

// TestLostNotifier closes a connection while its question is open.
func TestLostNotifier(t *testing.T) {
	r := start(t, t.TempDir())
	nc, doomed := r.dial(), r.dial()
	await(t, nc, wire.Operational)
	asked := make(chan struct{})
	if _, err := doomed.Subscribe("sys.notify.doomed", func(*nats.Msg) { close(asked) }); err != nil {
		t.Fatal(err)
	}
	ask(t, doomed, "sys.api.notifier.register.doomed", `{"timeout_us":60000000}`, nil)
	outcome := make(chan wire.StateOutcome, 1)
	go func() {
		var o wire.StateOutcome
		ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"test"}`, &o)
		outcome <- o
	}()
	<-asked
	doomed.Close()
	select {
	case o := <-outcome:
		if o.Outcome != wire.OutcomeReached {
			t.Errorf("outcome %+v", o)
		}
	case <-time.After(patience):
		t.Error("the loss of a notifier does not end its question")
	}
}

func TestLoopAndBlobs(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	nc := r.dial()
	await(t, nc, wire.Operational)
	if _, err := nc.Subscribe("sys.call.lamp.on", func(m *nats.Msg) { _ = m.Respond([]byte(`{"lit":true}`)) }); err != nil {
		t.Fatal(err)
	}
	inbox := nats.NewInbox()
	done, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	var booked wire.Booked
	if code := ask(t, nc, "sys.loop.0", `{"call":"sys.call.lamp.on","format":"json","done":"`+inbox+`","durable":true,"id":"lamp"}`, &booked); code != "" || booked.ID != "lamp" {
		t.Fatalf("booked %+v, %s", booked, code)
	}
	m, err := done.NextMsg(patience)
	if err != nil || !strings.Contains(string(m.Data), `"ok":true`) || !strings.Contains(string(m.Data), `{"lit":true}`) {
		t.Errorf("done: %v, %v", m, err)
	}
	for subject, code := range map[string]string{"sys.loop.7": "404", "sys.loop.x": "400"} {
		if got := ask(t, nc, subject, `{"call":"sys.call.lamp.on"}`, nil); got != code {
			t.Errorf("%s: %s", subject, got)
		}
	}

	changes, err := nc.SubscribeSync("sys.blob.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.api.blob.set.device-serial.0", `{"data":"U04tMQ=="}`, nil); code != "" {
		t.Fatalf("set: %s", code)
	}
	if m, err := changes.NextMsg(patience); err != nil || m.Subject != "sys.blob.device-serial.0" {
		t.Errorf("event: %v, %v", m, err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), wire.BlobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "device-serial.0"); err != nil || string(e.Value()) != "SN-1" {
		t.Errorf("by key-value: %v, %v", e, err)
	}
	if _, err := kv.PutString(t.Context(), "device-type.0", "gateway"); err != nil {
		t.Fatal(err)
	}
	if m, err := changes.NextMsg(patience); err != nil || m.Subject != "sys.blob.device-type.0" {
		t.Errorf("another client's write: %v, %v", m, err)
	}

	// The next run finds all of it, under a higher number.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRunFile(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run.json outlives the daemon: %v", err)
	}
	again := start(t, dir)
	if !strings.HasPrefix(again.Boot, "2-") {
		t.Errorf("boot %s after %s", again.Boot, r.Boot)
	}
	var part wire.BlobPart
	ask(t, again.dial(), "sys.api.blob.get.device-type.0", `{}`, &part)
	if string(part.Data) != "gateway" {
		t.Errorf("got %+v", part)
	}
}

func TestReboot(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	var o wire.StateOutcome
	if code := ask(t, nc, "sys.api.op.reboot", `{"reason":"test","mode":"halt"}`, &o); code != "" || o.Outcome != wire.OutcomeReached {
		t.Errorf("reboot: %s %+v", code, o)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	run := func(change func(*Config)) error {
		config := DefaultConfig()
		config.Dir, config.Listen = dir, "127.0.0.1:0"
		change(&config)
		return Run(t.Context(), config, Options{})
	}
	if err := run(func(*Config) {}); err == nil || !strings.Contains(err.Error(), "is locked by process") {
		t.Errorf("a second daemon on one folder: %v", err)
	}
	taken, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(r.URL, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(func(c *Config) { c.Dir, c.Listen = t.TempDir(), taken.String() }); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := run(func(c *Config) { c.Loops = 0 }); err == nil || !strings.Contains(err.Error(), "loops is 0") {
		t.Errorf("a bad configuration: %v", err)
	}
}

// cycle has the system move, which makes events, and waits for it to be back.
func cycle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if code := ask(t, nc, "sys.api.state.request", `{"target":"CPD_PRE_TIME","reason":"test","fall_back":true}`, nil); code != "" {
		t.Errorf("fall back: %s", code)
	}
	await(t, nc, wire.Operational)
}

// kept reads the whole stream of events.
func kept(t *testing.T, js jetstream.JetStream) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; {
		m, err := s.GetMsg(t.Context(), seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
		seq = m.Sequence + 1
	}
}

// storedOf counts the events of a boot in the stream, which must be its first ones, in order and without a gap.
func storedOf(t *testing.T, js jetstream.JetStream, boot string) uint64 {
	t.Helper()
	seen := map[uint64]bool{}
	newest, highest := map[string]uint64{}, uint64(0)
	for _, m := range kept(t, js) {
		var stamp struct{ wire.Stamp }
		if err := wire.Decode(m.Data, &stamp); err != nil {
			t.Fatal(err)
		}
		if stamp.Boot != boot {
			continue
		}
		if newest[m.Subject] >= stamp.Seq {
			t.Errorf("%s: event %d is stored after %d", m.Subject, stamp.Seq, newest[m.Subject])
		}
		seen[stamp.Seq], newest[m.Subject] = true, stamp.Seq
		highest = max(highest, stamp.Seq)
	}
	if highest != uint64(len(seen)) {
		t.Errorf("%d events of boot %s are stored, the last is number %d", len(seen), boot, highest)
	}
	return highest
}

// me is the identity of this process.
func me() string { return fmt.Sprintf("uid:%d", os.Getuid()) }

// eventually looks again and again for something that happens behind, without a message that tells it.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}
