package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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
	os.Exit(m.Run()) //nolint:forbidigo // as testing has it
}

// victim is a daemon in a process of its own.
func victim(t *testing.T, dir string) (RunFile, *exec.Cmd) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var file RunFile
	if err := json.NewDecoder(out).Decode(&file); err != nil {
		t.Fatalf("the daemon does not start: %v", err)
	}
	return file, cmd
}

// acknowledged is what the daemon has answered, and must therefore not lose.
type acknowledged struct {
	mu     sync.Mutex
	blob   int             // the newest value of user-count
	booked map[string]bool // durable bookings
	ran    map[string]bool // their calls that came
}

// TestKill kills the daemon again and again under writes, events and durable bookings.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	done := &acknowledged{booked: map[string]bool{}, ran: map[string]bool{}}
	last := 0
	const rounds = 6
	for round := range rounds {
		file, cmd := victim(t, dir)
		if run, _, _ := strings.Cut(file.Boot, "-"); run <= strconv.Itoa(last) && len(run) <= len(strconv.Itoa(last)) {
			t.Fatalf("boot %s after %d", file.Boot, last)
		} else if last, _ = strconv.Atoi(run); last != round+1 {
			t.Errorf("boot %s in round %d", file.Boot, round+1)
		}
		done.load(t, file.URL, round)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	file, cmd := victim(t, dir)
	nc, err := nats.Connect(file.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var part wire.BlobPart
	ask(t, nc, "sys.api.blob.get.user-count.0", `{}`, &part)
	if got, err := strconv.Atoi(string(part.Data)); err != nil || got < done.blob {
		t.Errorf("blob is %q, %d was answered", part.Data, done.blob)
	}
	done.serve(t, nc)
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for missing := done.missing(); len(missing) > 0; missing = done.missing() {
		select {
		case <-deadline:
			t.Fatalf("%d durable bookings never ran, %v", len(missing), missing[0])
		case <-tick.C:
		}
	}
	if done.blob < rounds || len(done.booked) < rounds {
		t.Errorf("only %d writes and %d bookings were answered", done.blob, len(done.booked))
	}
	_ = cmd.Process.Kill() // the test is over
	_ = cmd.Wait()
}

// load writes and books as fast as it is answered, for a number of answers that differs by round.
func (a *acknowledged) load(t *testing.T, url string, round int) {
	t.Helper()
	nc, err := nats.Connect(url, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if round%2 == 1 {
		a.serve(t, nc)
	}
	for i := range 5 + 7*round {
		text, _ := json.Marshal(map[string]any{"data": []byte(strconv.Itoa(a.blob + 1))})
		if code := ask(t, nc, "sys.api.blob.set.user-count.0", string(text), nil); code != "" {
			t.Fatalf("set: %s", code)
		}
		a.blob++
		id := fmt.Sprintf("r%d-%d", round, i)
		if code := ask(t, nc, "sys.loop.0", `{"call":"sys.call.work","durable":true,"state":"OPERATIONAL","id":"`+id+`","format":"json"}`, nil); code != "" {
			t.Fatalf("book: %s", code)
		}
		a.mu.Lock()
		a.booked[id] = true
		a.mu.Unlock()
		ask(t, nc, "sys.api.state.request", `{"target":"CPD_PRE_TIME","reason":"crash","fall_back":true}`, nil)
	}
}

// serve runs the booked calls.
func (a *acknowledged) serve(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if _, err := nc.Subscribe("sys.call.work", func(m *nats.Msg) {
		var call struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(m.Data, &call); err != nil {
			t.Errorf("call %s: %v", m.Data, err)
		}
		a.mu.Lock()
		a.ran[call.ID] = true
		a.mu.Unlock()
		_ = m.Respond(nil) // the daemon may be dead
	}); err != nil {
		t.Fatal(err)
	}
}

// missing lists the bookings that never ran.
func (a *acknowledged) missing() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for id := range a.booked {
		if !a.ran[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
