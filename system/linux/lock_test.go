package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// desk plays logind and the machine, and writes down what happens between them.
type desk struct {
	events  []string
	away    atomic.Bool // nobody is there
	allowed bool        // whether a lock may block
	downs   chan bool
	fails   error // of the machine
}

func (d *desk) note(format string, args ...any) {
	d.events = append(d.events, fmt.Sprintf(format, args...))
}

func (d *desk) open(context.Context) (Session, error) {
	if d.away.Load() {
		d.note("away at %s", time.Now().UTC().Format("04:05"))
		return nil, errors.New("nobody is there")
	}
	d.downs = make(chan bool)
	return counter{d}, nil
}

func (d *desk) Request(_ context.Context, _ wire.Caller, want wire.StateWish) (wire.StateOutcome, error) {
	d.note("wish for %s: %s", want.Target, want.Reason)
	return wire.StateOutcome{ID: "1.7", Outcome: wire.OutcomeHeld}, d.fails
}

func (d *desk) Withdraw(_ context.Context, id, _ string) (bool, error) {
	d.note("withdraw %s", id)
	return true, d.fails
}

// counter is a session at the desk.
type counter struct{ *desk }

func (c counter) Downs() <-chan bool { return c.downs }

func (c counter) Close() error {
	c.note("closed")
	return nil
}

func (c counter) Inhibit(_ context.Context, mode, _ string) (io.Closer, error) {
	if mode == lockBlocks && !c.allowed {
		return nil, errors.New("access denied")
	}
	c.note("took %s", mode)
	return given{c.desk, mode}, nil
}

// given is a lock.
type given struct {
	*desk
	mode string
}

func (g given) Close() error {
	g.note("gave %s", g.mode)
	return nil
}

// play runs a lock against the desk while do has things happen, and gives what did.
func play(t *testing.T, d *desk, do func(l *Lock)) (events []string, log string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		l := NewLock(d, LockOptions{Open: d.open, Log: slog.New(slog.NewTextHandler(&text, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		do(l)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		events, log = d.events, text.String()
	})
	return events, log
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("it went\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

func TestLockIsGivenBack(t *testing.T) {
	got, _ := play(t, &desk{}, func(*Lock) {})
	expect(t, got, "took delay", "gave delay", "closed")
}

func TestLockOfAnUpdate(t *testing.T) {
	enter := func(l *Lock) {
		for _, state := range []wire.State{wire.Operational, wire.AwaitingModalUpdating, wire.ModalUpdating, wire.Operational} {
			l.Entered(state)
			synctest.Wait()
		}
	}
	got, _ := play(t, &desk{allowed: true}, enter)
	expect(t, got, "took delay", "took block", "gave delay", "took delay", "gave block", "gave delay", "closed")
	got, log := play(t, &desk{}, enter)
	expect(t, got, "took delay", "gave delay", "closed")
	if strings.Count(log, "can only delay") != 1 {
		t.Errorf("logged:\n%s", log)
	}
}

func TestLockWishesForTheEnd(t *testing.T) {
	d := &desk{}
	got, log := play(t, d, func(*Lock) {
		d.downs <- true
		synctest.Wait()
		d.downs <- false
		synctest.Wait()
		d.downs <- false // a second word changes nothing
	})
	expect(t, got, "took delay", "wish for CONTEXT_DESTROYING: logind takes the device down", "withdraw 1.7", "gave delay", "closed")
	if !strings.Contains(log, "outcome=held") || !strings.Contains(log, "does not go down after all") {
		t.Errorf("logged:\n%s", log)
	}
	d = &desk{fails: errors.New("no machine")}
	_, log = play(t, d, func(*Lock) { d.downs <- true })
	if !strings.Contains(log, "nobody was asked") {
		t.Errorf("logged:\n%s", log)
	}
}

// TestLockWishesTwice hears it in two sessions, and takes back both.
func TestLockWishesTwice(t *testing.T) {
	d := &desk{}
	got, _ := play(t, d, func(*Lock) {
		d.downs <- true
		synctest.Wait()
		close(d.downs)
		time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time
		synctest.Wait()
		d.downs <- true
		synctest.Wait()
		d.downs <- false
	})
	wish := "wish for CONTEXT_DESTROYING: logind takes the device down"
	expect(t, got, "took delay", wish, "gave delay", "closed", "took delay", wish, "withdraw 1.7", "withdraw 1.7", "gave delay", "closed")
}

// TestLockIsTakenAnew loses logind, and looks for it less and less often until it is there again.
func TestLockIsTakenAnew(t *testing.T) {
	d := &desk{}
	got, log := play(t, d, func(*Lock) {
		d.away.Store(true)
		close(d.downs)
		time.Sleep(20 * time.Second) //nolint:forbidigo // virtual time
		d.away.Store(false)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
	})
	expect(t, got, "took delay", "gave delay", "closed", "away at 00:01", "away at 00:03", "away at 00:07", "away at 00:15",
		"took delay", "gave delay", "closed")
	if strings.Count(log, "nobody is there") != 1 || strings.Count(log, "is lost") != 1 {
		t.Errorf("logged:\n%s", log)
	}
}
