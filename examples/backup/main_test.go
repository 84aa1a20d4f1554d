package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

// device runs a daemon that waits for the notifier, and gives the URL of its bus.
func device(t *testing.T) string {
	t.Helper()
	config := daemon.DefaultConfig()
	config.Dir, config.Listen = t.TempDir(), "127.0.0.1:0"
	config.Required = []daemon.Required{{Name: "backup", States: []wire.State{wire.Operational}}}
	config.Hold["CONTEXT_DESTROYING"] = daemon.Hold{Limit: daemon.Duration(time.Millisecond), OnLimit: wire.LimitProceed}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan daemon.RunFile, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, config, daemon.Options{Ready: func(f daemon.RunFile) { ready <- f }})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case file := <-ready:
		return file.URL
	case err := <-ended:
		ended <- err
		t.Fatal("the daemon did not start")
		return ""
	}
}

// wantHold has an update held while the file is there, and no longer.
func wantHold(t *testing.T, url, file string) {
	t.Helper()
	ctx := t.Context()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bus, err := client.Connect(ctx, url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if _, err := bus.WaitFor(ctx, wire.Operational); err != nil {
		t.Fatal(err)
	}
	wish := wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"}
	outcome, err := bus.Request(ctx, wish)
	if err != nil {
		t.Fatal(err)
	}
	for i := range outcome.Holders {
		outcome.Holders[i].Since = 0
	}
	want := []wire.Holder{{Notifier: "backup", Reason: "a backup is being made", Retry: 10_000_000}}
	if diff := cmp.Diff(want, outcome.Holders); diff != "" {
		t.Error(diff)
	}
	if _, err := client.Call(ctx, bus, wire.StateAbort, wire.Abort{Reason: "it takes too long"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if outcome, err := bus.Request(ctx, wish); err != nil || outcome.Outcome != wire.OutcomeReached {
		t.Errorf("without the file: %+v, %v", outcome, err)
	}
}

func TestBackup(t *testing.T) {
	url, file := device(t), filepath.Join(t.TempDir(), "backup.pid")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, url, file) }()
	wantHold(t, url, file)
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) { // it may not have heard yet that it is registered
		t.Error(err)
	}
}
