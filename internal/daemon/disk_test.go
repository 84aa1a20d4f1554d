//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// TestFullDisk fills the disk under a running daemon, has everybody go on, and makes room again.
func TestFullDisk(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		dir := mountDisk(t, 24<<20)
		r := start(t, dir)
		nc := r.dial()
		await(t, nc, wire.Operational)
		if code := ask(t, nc, "sys.api.blob.set.user-a.0", `{"data":"b2xk"}`, nil); code != "" {
			t.Fatalf("set: %s", code)
		}
		first := r.Boot
		ballast := fill(t, dir)
		cycle(t, nc)
		refused(t, nc)
		if lines := r.log.lines(`msg="the store takes no writes"`, "no space left on device"); len(lines) != 1 {
			t.Errorf("the log says it %d times: %v", len(lines), lines)
		}
		if lines := r.log.lines("request failed", "subject=sys.api.blob.set.<name>.<index>", "code=507", "count=1"); len(lines) != 1 {
			t.Errorf("the log counts no refused write: %v", lines)
		}

		empty(t, ballast)
		working(t, r, nc)

		// Full again, and the device starts over. What cannot be stored can be read, and done.
		ballast = fill(t, dir)
		if err := r.stop(); err != nil {
			t.Errorf("stopped on a full disk: %v", err)
		}
		r = start(t, dir)
		nc = r.dial()
		await(t, nc, wire.Operational)
		if r.Boot <= first {
			t.Errorf("boot %s after %s", r.Boot, first)
		}
		cycle(t, nc)
		refused(t, nc)
		empty(t, ballast)
		working(t, r, nc)
	})
}

// refused finds that nothing can be written, that everybody is told so at once, and that the old blob stands.
func refused(t *testing.T, nc *nats.Conn) {
	t.Helper()
	eventually(t, "the store to be seen as failing", func() bool {
		store := state(t, nc).Store
		return !store.OK && store.Missed > 0
	})
	for subject, text := range map[string]string{
		"sys.api.blob.set.user-a.0": `{"data":"bmV3"}`, "sys.api.blob.append.user-a.0": `{"data":"bmV3"}`,
		"sys.api.blob.empty.user-a.0": `{}`, "sys.api.blob.set.user-b.0": `{"data":"bmV3"}`,
		"sys.loop.0": `{"call":"sys.call.work","durable":true}`,
	} {
		var e wire.Error
		if code := ask(t, nc, subject, text, &e); code != "507" || !strings.Contains(e.Message, "no space left on device") {
			t.Errorf("%s: %s %s", subject, code, e.Message)
		}
	}
	var part wire.BlobPart
	if ask(t, nc, "sys.api.blob.get.user-a.0", `{}`, &part); string(part.Data) != "old" {
		t.Errorf("the old value is %q", part.Data)
	}
}

func empty(t *testing.T, ballast string) {
	t.Helper()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
}

// working waits until the store takes writes again, and finds every event of this boot in it.
func working(t *testing.T, r *running, nc *nats.Conn) {
	t.Helper()
	eventually(t, "the store to take writes again", func() bool { return state(t, nc).Store.OK })
	if v := state(t, nc); v.Store.Missed != 0 {
		t.Errorf("store %+v", v.Store)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := storedOf(t, js, r.Boot), state(t, nc).Seq; got != want {
		t.Errorf("%d events of boot %s are in the stream, %d were sent", got, r.Boot, want)
	}
	last, err := js.Stream(t.Context(), wire.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	var e wire.StateEvent
	if m, err := last.GetLastMsgForSubject(t.Context(), "sys.state"); err != nil || wire.Decode(m.Data, &e) != nil || e.Boot != r.Boot || e.State != wire.Operational {
		t.Errorf("the last state in the stream is %+v, %v", e, err)
	}
	if code := ask(t, nc, "sys.api.blob.set.user-a.0", `{"data":"b2xk"}`, nil); code != "" {
		t.Errorf("set: %s", code)
	}
	kv, err := js.KeyValue(t.Context(), wire.BlobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := nc.SubscribeSync("sys.blob.device-type.0")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "device-type.0", r.Boot); err != nil {
		t.Error(err)
	}
	if _, err := changes.NextMsg(patience); err != nil {
		t.Errorf("another client's write is not seen: %v", err)
	}
	ran := make(chan struct{}, 1)
	work, err := nc.Subscribe("sys.call.work", func(m *nats.Msg) {
		_ = m.Respond(nil) // the loop has its answer, or tells of it
		ran <- struct{}{}
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.loop.0", `{"call":"sys.call.work","durable":true}`, nil); code != "" {
		t.Errorf("book: %s", code)
	}
	<-ran
	if err := work.Unsubscribe(); err != nil {
		t.Error(err)
	}
}

// TestReadOnly starts on a folder that cannot be written, and is told why it cannot.
func TestReadOnly(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		dir := mountDisk(t, 24<<20)
		run := func() error {
			config := DefaultConfig()
			config.Dir, config.Listen = dir, "127.0.0.1:0"
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			return Run(ctx, config, Options{Ready: func(RunFile) { cancel() }})
		}
		for _, what := range []string{"empty", "used"} {
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatalf("make the disk read-only: %v", err)
			}
			if err := run(); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir) {
				t.Errorf("an %s folder that is read-only: %v", what, err)
			}
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", 24<<20)); err != nil {
				t.Fatalf("make the disk writable: %v", err)
			}
			if err := run(); err != nil {
				t.Errorf("writable again: %v", err)
			}
		}
	})
}
