package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// Load implements BookingStore for yard.
func (y *yard) Load(context.Context) (map[string][]byte, []string, error) {
	return maps.Clone(y.kept), y.order, nil
}

func TestSim(t *testing.T) {
	s := &Sim{}
	o := &Operations{Platform: s, Earliest: time.Unix(1e9, 0)}
	at := wire.At(time.Unix(2e9, 0))
	set, err := o.SetClock(t.Context(), wire.Internal, wire.SetClock{At: at, Source: "test"})
	if err != nil || set.After < at || set.Before >= at {
		t.Errorf("set-clock: %+v, %v", set, err)
	}
	if now, mono := s.Now(); now < at || mono <= 0 {
		t.Errorf("now is %v, %v", now.Time(), mono)
	}
	if _, err := o.SetClock(t.Context(), wire.Internal, wire.SetClock{At: 1, Source: "test"}); wire.AsError(orNil(err)).Code != wire.CodeUnprocessable {
		t.Errorf("a time before the version was made: %v", err)
	}
	if err := s.GoDown(t.Context(), wire.ModeHalt, "test"); err != nil || !slices.Equal(s.WentDown(), []wire.RebootMode{wire.ModeHalt}) {
		t.Errorf("went down %v, %v", s.WentDown(), err)
	}
	if list, err := o.List(t.Context(), wire.Internal, wire.Empty{}); err != nil || list.Platform != "sim" || !slices.Equal(list.Ops, []string{"reboot", "set-clock"}) {
		t.Errorf("list: %+v, %v", list, err)
	}
	if cp, err := o.CaptivePortal(t.Context(), wire.Internal, wire.Empty{}); err != nil || cp.Result != "unknown" {
		t.Errorf("captive-portal: %+v, %v", cp, err)
	}
}

// shelf is a folder of files in memory.
type shelf map[string][]byte

func (s shelf) Save(name string, data []byte) error { s[name] = data; return nil }
func (s shelf) Load(name string) ([]byte, error) {
	if data, ok := s[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}
func (s shelf) List() ([]string, error)  { return slices.Sorted(maps.Keys(s)), nil }
func (s shelf) Remove(name string) error { delete(s, name); return nil }

func TestTimeline(t *testing.T) { synctest.Test(t, testTimeline) }

func testTimeline(t *testing.T) {
	files := shelf{"other": nil, "boot-3": []byte("broken")}
	open := func() *Timeline {
		t.Helper()
		line, err := OpenTimeline(files, &Sim{}, "device", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	first := open()
	if runOf(first.Boot()) != 4 {
		t.Errorf("boot %s; the file of 3 is broken, but there", first.Boot())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- first.Run(ctx) }()
	for i := range maxTimeline + 10 {
		first.Record(wire.Transition{Kind: wire.KindProposed, Reason: fmt.Sprint(i)})
	}
	first.Record(wire.Transition{Kind: wire.KindCommitted, To: wire.Operational, Stamp: wire.Stamp{Mono: first.boot.Summary.StartedMono + 5}})
	time.Sleep(time.Second) //nolint:forbidigo // virtual time
	first.Record(wire.Transition{Kind: wire.KindCommitted, To: wire.ContextDestroying})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	second := open()
	h, err := second.History(t.Context(), wire.Internal, wire.HistoryQuery{Boot: first.Boot()})
	if n := len(h.Events); err != nil || n != maxTimeline || h.Events[0].Reason != "0" || h.Events[n/2-1].Reason != fmt.Sprint(n/2-1) ||
		h.Events[n/2].Reason != fmt.Sprint(n/2+12) || h.Events[n-1].To != wire.ContextDestroying {
		t.Errorf("%d events, %v; want the first half of %d and the last ones", n, err, maxTimeline)
	}
	h, err = second.History(t.Context(), wire.Internal, wire.HistoryQuery{Boot: first.Boot(), Limit: 3})
	if err != nil || len(h.Events) != 3 || len(h.Boots) != 2 || !h.Boots[1].Clean || h.Boots[1].Operational != 5 {
		t.Errorf("history: %+v, %v", h, err)
	}
	if h, err := second.History(t.Context(), wire.Internal, wire.HistoryQuery{}); err != nil || len(h.Events) != 0 {
		t.Errorf("history of a boot without events: %+v, %v", h, err)
	}
	if _, err := second.History(t.Context(), wire.Internal, wire.HistoryQuery{Boot: "x"}); !errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
		t.Errorf("history of no boot: %v", err)
	}
	for range 20 {
		second = open()
	}
	if h, _ := second.History(t.Context(), wire.Internal, wire.HistoryQuery{}); len(h.Boots) != keptBoots+1 || len(files) != keptBoots+2 {
		t.Errorf("%d boots known, %d files", len(h.Boots), len(files))
	}
	long := make([]wire.Transition, 1000)
	for i := range long {
		long[i].Reason = string(make([]byte, 1000))
	}
	if got, err := newestFitting(long); err != nil || len(got) >= 1000 || len(got) < 100 {
		t.Errorf("%d fit, %v", len(got), err)
	}
}
