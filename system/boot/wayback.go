package boot

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"muster/wire"
)

// wishAgain is after how long a fall back is wished for again that could not be made, as from MODAL_UPDATING.
const wishAgain = time.Minute

// wayBack has the device fall back when something is lost that a part has let it go on for. Where that cannot be for now, it is made
// later, unless what was lost is there again by then. It is safe for concurrent use.
type wayBack struct {
	wisher Wisher // nil: the device stays where it is
	to     wire.State
	log    *slog.Logger

	mu     sync.Mutex
	had    bool      // it is there, and not lost since
	passed bool      // the device was let go on when the part was asked last
	due    time.Time // a fall back that was refused; zero: there is none
	reason string    // for that
	falls  bool      // the wish is under way, and the device has not come up to the part since
}

// answered notes what was answered to a question about the state that waits for it. A device that comes up to that state needs no
// fall back any more.
func (b *wayBack) answered(q wire.Question, a wire.Answer) {
	if q.DryRun {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed = a.Answer == wire.Accept
	if q.From < q.To {
		b.falls = false
		if !b.due.IsZero() {
			b.had, b.due = false, time.Time{}
		}
	}
}

// has notes that it is there.
func (b *wayBack) has() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.had, b.due = true, time.Time{}
}

// lost notes that it is not there, and reports whether that is a loss to be acted on now, and whether [wayBack.fall] is to be called.
func (b *wayBack) lost() (lost, falls bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.due) {
		return false, false
	}
	lost = b.had && b.passed
	b.had, b.due, b.falls = false, time.Time{}, lost && b.wisher != nil
	return lost, b.falls
}

// fall wishes for the fall back, and waits for its end. It reports whether that was refused and is to be wished for again, when lost
// says so.
func (b *wayBack) fall(ctx context.Context, reason string) (refused bool) {
	_, err := b.wisher.Request(ctx, wire.Internal, wire.StateWish{Target: b.to, FallBack: true, Reason: reason})
	if err != nil && ctx.Err() == nil {
		b.log.Warn("device does not fall back", "to", b.to.String(), "reason", reason, "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.falls:
		return false
	case err != nil:
		b.had, b.due, b.reason = true, time.Now().Add(wishAgain), reason // it is where it was
		return true
	}
	b.passed = false
	return false
}

// pause waits, and reports false when ctx is done before. A fall back that is due meanwhile is made.
func (b *wayBack) pause(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		due, _ := b.pending()
		if due.IsZero() || !due.Before(end) {
			return pause(ctx, time.Until(end))
		}
		if !pause(ctx, time.Until(due)) {
			return false
		}
		b.again(ctx)
	}
}

// again makes a fall back that was refused, where it is due.
func (b *wayBack) again(ctx context.Context) {
	due, reason := b.pending()
	if due.IsZero() {
		return
	}
	if _, falls := b.lost(); falls {
		b.fall(ctx, reason)
	}
}

// pending gives when a fall back is due that was refused, and why it is to be.
func (b *wayBack) pending() (due time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.due, b.reason
}
