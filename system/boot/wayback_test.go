package boot

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// machinery is a Wisher that is played.
type machinery struct {
	refuses error
	during  func() // what happens while the device falls back; may be nil
	wishes  int
}

// Request implements Wisher.
func (m *machinery) Request(context.Context, wire.Caller, wire.StateWish) (wire.StateOutcome, error) {
	m.wishes++
	if m.during != nil {
		m.during()
	}
	return wire.StateOutcome{}, m.refuses
}

// TestWayBack has a fall back refused, and what becomes of it when other things happen before it is wished for again.
func TestWayBack(t *testing.T) {
	up := wire.Question{From: wire.PolicyValid, To: wire.Registered}
	down := wire.Question{From: wire.Operational, To: wire.Registered}
	for name, c := range map[string]struct {
		meanwhile func(m *machinery, b *wayBack)
		wishes    int // in all, within three and a half minutes
	}{
		"refused for good":                {func(*machinery, *wayBack) {}, 4},
		"possible at the second try":      {func(m *machinery, _ *wayBack) { m.refuses = nil }, 2},
		"there again":                     {func(_ *machinery, b *wayBack) { b.has() }, 1},
		"down for somebody else's sake":   {func(_ *machinery, b *wayBack) { b.answered(down, accepted) }, 4},
		"up again, and held":              {func(_ *machinery, b *wayBack) { b.answered(up, deferred("")) }, 1},
		"up again, and not waited for":    {func(_ *machinery, b *wayBack) { b.answered(up, accepted) }, 1},
		"asked what would be":             {func(_ *machinery, b *wayBack) { b.answered(wire.Question{DryRun: true}, deferred("")) }, 4},
		"held during the second try":      {func(m *machinery, b *wayBack) { m.during = func() { b.answered(up, deferred("")) } }, 2},
		"there, and lost below the state": {func(_ *machinery, b *wayBack) { b.answered(up, deferred("")); b.has(); b.lost() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &machinery{refuses: errors.New("an update is awaited")}
				b := &wayBack{wisher: m, to: wire.PolicyValid, log: slog.New(slog.DiscardHandler)}
				if _, falls := b.lost(); falls {
					t.Error("it falls back for what it never had")
				}
				b.has()
				b.answered(up, accepted)
				lost, falls := b.lost()
				if !lost || !falls || !b.fall(t.Context(), "it is lost") {
					t.Fatalf("lost: %v, falls: %v; want both, and the fall back refused", lost, falls)
				}
				c.meanwhile(m, b)
				if !b.pause(t.Context(), 210*time.Second) {
					t.Error("the pause has not come to its end")
				}
				if m.wishes != c.wishes {
					t.Errorf("wished %d times; want %d", m.wishes, c.wishes)
				}
			})
		})
	}
}
