package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"muster/wire"
)

// crashDir has this test binary be a daemon on that folder, so that it can be killed.
const crashDir = "MUSTER_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		config := DefaultConfig()
		config.Dir, config.Listen = dir, "127.0.0.1:0"
		err := Run(context.Background(), config, Options{Ready: func(f RunFile) {
			_ = json.NewEncoder(os.Stdout).Encode(f) // the parent reads it, or has gone
		}})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is a main of its own
	}
	goleak.VerifyTestMain(m) // the end of a daemon leaves nothing behind
}

// victim is a daemon in a process of its own.
type victim struct {
	RunFile
	cmd *exec.Cmd
	out io.Reader
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	v := &victim{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	v.cmd.Env = append(os.Environ(), crashDir+"="+dir)
	v.cmd.Stderr = t.Output()
	var err error
	if v.out, err = v.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return v
}

// ready waits until it answers.
func (v *victim) ready(t *testing.T) {
	t.Helper()
	if err := json.NewDecoder(v.out).Decode(&v.RunFile); err != nil {
		t.Fatalf("the daemon does not start: %v", err)
	}
}

func (v *victim) kill(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = v.cmd.Wait() // it was killed
}

func (v *victim) dial(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(v.URL, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// witness knows what the daemon was asked for and what it has answered, and must therefore not lose.
type witness struct {
	mu     sync.Mutex
	asked  map[string]int  // the last number written to each blob, answered or not
	kept   map[string]int  // the last one that was answered
	booked map[string]bool // durable bookings that were answered
	ran    map[string]bool // their calls that came
}

const writers = 3

// TestKill kills the daemon again and again at random moments, while it starts and while blobs are written, calls are
// booked and the system moves. What was answered is there afterwards.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	w := &witness{asked: map[string]int{}, kept: map[string]int{}, booked: map[string]bool{}, ran: map[string]bool{}}
	last := 0
	var boots []string
	const rounds = 8
	for round := range rounds {
		if round%3 == 2 { // one that does not come far
			v := startVictim(t, dir)
			<-time.After(rand.N(20 * time.Millisecond))
			v.kill(t)
		}
		v := startVictim(t, dir)
		v.ready(t)
		last = higher(t, v.Boot, last)
		boots = append(boots, v.Boot)
		w.check(t, v)
		w.load(t, v, round)
	}
	v := startVictim(t, dir)
	v.ready(t)
	higher(t, v.Boot, last)
	w.check(t, v)
	nc := v.dial(t)
	w.serve(t, nc)
	eventually(t, "every durable booking to run", func() bool { return len(w.missing()) == 0 })
	if len(w.kept) < writers || len(w.booked) < rounds {
		t.Errorf("only %v was written and %d booked", w.kept, len(w.booked))
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, boot := range boots {
		if n := storedOf(t, js, boot); n == 0 {
			t.Errorf("nothing is left of boot %s", boot)
		}
	}
	v.kill(t)
}

// higher checks that a boot counts higher than the last one.
func higher(t *testing.T, boot string, last int) int {
	t.Helper()
	number, _, _ := strings.Cut(boot, "-")
	n, err := strconv.Atoi(number)
	if err != nil || n <= last {
		t.Fatalf("boot %s after %d", boot, last)
	}
	return n
}

// check finds what was answered before the last kill, and the truth about the state.
func (w *witness) check(t *testing.T, v *victim) {
	t.Helper()
	nc := v.dial(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	var e wire.StateEvent
	if m, err := s.GetLastMsgForSubject(t.Context(), "sys.state"); err != nil || wire.Decode(m.Data, &e) != nil || e.Boot != v.Boot {
		t.Errorf("the last state in the stream is %+v, %v; this is boot %s", e, err, v.Boot)
	}
	for name, kept := range w.kept {
		var part wire.BlobPart
		ask(t, nc, "sys.api.blob.get."+name+".0", `{}`, &part)
		text := strings.TrimLeft(string(part.Data), "+")
		if name == "user-log" {
			text = strconv.Itoa(len(part.Data))
		}
		if got, err := strconv.Atoi(text); err != nil || got < kept || got > w.asked[name] {
			t.Errorf("%s is %.40q: %d was answered, %d asked for", name, part.Data, kept, w.asked[name])
		} else {
			w.kept[name], w.asked[name] = got, got
		}
	}
	w.asked["user-log"] = w.kept["user-log"] // what may have been added is counted anew
	nc.Close()
}

// load writes, books and moves from several connections as fast as it is answered, until the daemon is killed in the
// middle of it.
func (w *witness) load(t *testing.T, v *victim, round int) {
	t.Helper()
	if round%2 == 1 {
		w.serve(t, v.dial(t))
	}
	var busy sync.WaitGroup
	for i := range writers {
		nc := v.dial(t)
		busy.Go(func() {
			w.write(nc, fmt.Sprintf("user-count%d", i), "set", func(n int) string { return strconv.Itoa(n) })
		})
	}
	log, books, moves := v.dial(t), v.dial(t), v.dial(t)
	busy.Go(func() { w.write(log, "user-log", "append", func(int) string { return "+" }) })
	busy.Go(func() {
		for i := 0; ; i++ {
			id := fmt.Sprintf("r%d-%d", round, i)
			if !answered(books, "sys.loop.0", `{"call":"sys.call.work","durable":true,"id":"`+id+`","format":"json"}`) {
				return
			}
			w.mu.Lock()
			w.booked[id] = true
			w.mu.Unlock()
		}
	})
	busy.Go(func() {
		for answered(moves, "sys.api.state.request", `{"target":"CPD_PRE_TIME","reason":"crash","fall_back":true}`) {
		}
	})
	<-time.After(20*time.Millisecond + rand.N(250*time.Millisecond))
	v.kill(t)
	busy.Wait()
}

// write writes one number after the other to a blob until there is no answer.
func (w *witness) write(nc *nats.Conn, name, verb string, text func(int) string) {
	for {
		w.mu.Lock()
		n := w.asked[name] + 1
		w.asked[name] = n
		w.mu.Unlock()
		payload, _ := json.Marshal(map[string]any{"data": []byte(text(n))}) // it can be
		if !answered(nc, "sys.api.blob."+verb+"."+name+".0", string(payload)) {
			return
		}
		w.mu.Lock()
		w.kept[name] = n
		w.mu.Unlock()
	}
}

// answered asks and reports whether there was an answer, and a good one.
func answered(nc *nats.Conn, subject, text string) bool {
	m := &nats.Msg{Subject: subject, Data: []byte(text), Header: nats.Header{"Content-Type": {"application/json"}}}
	answer, err := nc.RequestMsg(m, patience)
	return err == nil && answer.Header.Get("Nats-Service-Error-Code") == ""
}

// serve runs the booked calls.
func (w *witness) serve(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if _, err := nc.Subscribe("sys.call.work", func(m *nats.Msg) {
		var call wire.Call
		if err := wire.DecodeJSON(m.Data, &call); err != nil {
			t.Errorf("call %s: %v", m.Data, err)
		}
		w.mu.Lock()
		w.ran[call.ID] = true
		w.mu.Unlock()
		_ = m.Respond(nil) // the daemon may be dead
	}); err != nil {
		t.Fatal(err)
	}
}

// missing lists the bookings that never ran.
func (w *witness) missing() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id := range w.booked {
		if !w.ran[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
