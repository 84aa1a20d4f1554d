package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"muster/system"
	"muster/wire"
)

// board is a device that goes down as the test says.
type board struct {
	system.Sim
	takes time.Duration // to go down, or to say that it does not
	deaf  bool          // to the end of its time
	err   error
}

func (b *board) GoDown(ctx context.Context, _ wire.RebootMode, _ string) error {
	if b.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-time.After(b.takes):
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestGoDown ends the daemon with an error when the device does not go down: at once when it says why, else after 60 s.
func TestGoDown(t *testing.T) {
	const late = "the reboot has not happened within 1m0s"
	for name, c := range map[string]struct {
		board *board
		after time.Duration
		want  string
	}{
		"goes down": {board: &board{takes: time.Second}, after: time.Second},
		"refuses":   {board: &board{err: errors.New("no permission")}, want: "reboot: no permission"},
		"stays up":  {board: &board{takes: time.Hour}, after: time.Minute, want: late},
		"hangs":     {board: &board{takes: time.Hour, deaf: true}, after: time.Minute, want: late},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &Daemon{platform: c.board, opts: Options{Log: slog.New(slog.DiscardHandler)}}
				began := time.Now()
				err := d.goDown(wire.Reboot{Mode: wire.ModeReboot, Reason: "test"})
				if got := time.Since(began); got != c.after {
					t.Errorf("it took %v, want %v", got, c.after)
				}
				if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
					t.Errorf("error %v, want %q", err, c.want)
				}
				time.Sleep(time.Hour) //nolint:forbidigo // virtual time, for what hangs
			})
		})
	}
}
