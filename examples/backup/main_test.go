package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

// TestBackup holds an update while the file is there, and no longer.
func TestBackup(t *testing.T) {
	config := daemon.DefaultConfig()
	config.Dir, config.Listen = t.TempDir(), "127.0.0.1:0"
	config.Required = []daemon.Required{{Name: "backup", States: []wire.State{wire.Operational}}}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan daemon.RunFile, 1), make(chan error, 2)
	go func() {
		ended <- daemon.Run(ctx, config, daemon.Options{Ready: func(f daemon.RunFile) { ready <- f }})
	}()
	url := (<-ready).URL
	file := filepath.Join(t.TempDir(), "backup.pid")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- run(ctx, url, file) }()

	bus, err := client.Connect(ctx, url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.WaitFor(ctx, wire.Operational); err != nil {
		t.Fatal(err)
	}
	wish := wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"}
	held, err := bus.Request(ctx, wish)
	if err != nil {
		t.Fatal(err)
	}
	got := held.Holders[0]
	got.Since = 0
	want := wire.Holder{Notifier: "backup", Reason: "a backup is being made", Retry: 10_000_000}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := client.Call(ctx, bus, wire.StateAbort, wire.Abort{Reason: "it takes too long"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if free, err := bus.Request(ctx, wish); err != nil || free.Outcome != wire.OutcomeReached {
		t.Errorf("without the file: %+v, %v", free, err)
	}
	bus.Close()
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
