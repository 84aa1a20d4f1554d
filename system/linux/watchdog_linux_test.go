package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bomb is a timer that notes when it is fed, and whether it has gone off meanwhile.
type bomb struct {
	timeout time.Duration
	fed     time.Time
	events  []string
	refuses error
}

func (b *bomb) Timeout() time.Duration { return b.timeout }

func (b *bomb) Feed() error {
	if b.refuses != nil {
		return b.refuses
	}
	if time.Since(b.fed) >= b.timeout {
		b.events = append(b.events, fmt.Sprintf("gone off after %v", time.Since(b.fed)))
	}
	b.fed = time.Now()
	return nil
}

func (b *bomb) Disarm() error {
	b.events = append(b.events, "disarmed")
	return b.refuses
}

func (b *bomb) Close() error {
	b.events = append(b.events, "closed")
	return nil
}

// TestWatchdog feeds as long as the bus answers, and not a moment longer.
func TestWatchdog(t *testing.T) {
	const timeout = 20 * time.Second
	for what, c := range map[string]struct {
		look    func(ctx context.Context, since time.Duration) error
		refuses error
		orderly bool
		events  []string
		log     []string
	}{
		"all is well": {
			look:    func(context.Context, time.Duration) error { return nil },
			orderly: true, events: []string{"disarmed", "closed"},
		},
		"the bus is slow": {
			look: func(context.Context, time.Duration) error {
				time.Sleep(4900 * time.Millisecond) //nolint:forbidigo // virtual time
				return nil
			},
			orderly: true, events: []string{"disarmed", "closed"},
		},
		"the bus hangs": {
			look: func(ctx context.Context, since time.Duration) error {
				if since < time.Minute {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			},
			events: []string{"closed"},
			log:    []string{`watchdog not fed; the device is reset if that lasts" left=10s error="context deadline exceeded"`, "watchdog left running"},
		},
		"the bus fails for a while": {
			look: func(_ context.Context, since time.Duration) error {
				if since > time.Minute && since < 74*time.Second {
					return errors.New("no responders")
				}
				return nil
			},
			orderly: true, events: []string{"disarmed", "closed"},
			log: []string{`watchdog not fed; the device is reset if that lasts" left=15s error="no responders"`, `watchdog fed again" after=15s`},
		},
		"the bus comes back too late": {
			look: func(_ context.Context, since time.Duration) error {
				if since > time.Minute && since < 90*time.Second {
					return errors.New("no responders")
				}
				return nil
			},
			orderly: true, events: []string{"gone off after 30s", "disarmed", "closed"},
			log: []string{"watchdog not fed", "watchdog fed again"},
		},
		"the timer refuses": {
			look:    func(context.Context, time.Duration) error { return nil },
			refuses: errors.New("input/output error"), orderly: true, events: []string{"disarmed", "closed"},
			log: []string{`watchdog not fed; the device is reset if that lasts" left=20s error="input/output error"`},
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				timer := &bomb{timeout: timeout, fed: start, refuses: c.refuses}
				var log bytes.Buffer
				w := NewWatchdog(timer, WatchdogOptions{
					Look: func(ctx context.Context) error { return c.look(ctx, time.Since(start)) },
					Log:  slog.New(slog.NewTextHandler(&log, nil)),
				})
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := w.Run(ctx); err != nil {
					t.Error(err)
				}
				if err := w.End(c.orderly); !errors.Is(err, c.refuses) {
					t.Errorf("its end: %v", err)
				}
				if !slices.Equal(timer.events, c.events) {
					t.Errorf("the timer saw %q, want %q", timer.events, c.events)
				}
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				if log.Len() == 0 {
					lines = nil
				}
				if len(lines) != len(c.log) {
					t.Fatalf("the log says\n%swant %q", &log, c.log)
				}
				for i, want := range c.log {
					if !strings.Contains(lines[i], want) {
						t.Errorf("the log says %s, want %s", lines[i], want)
					}
				}
			})
		})
	}
}

// TestOpenTimer refuses what is no watchdog, and leaves it as it was.
func TestOpenTimer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file",
		file:                               "is no device file",
		"/dev/null":                        "/dev/null is no watchdog",
	} {
		if timer, err := OpenTimer(path, time.Minute, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", path, timer, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "as it was" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
