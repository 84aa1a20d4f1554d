package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// yard is a set of loops with everything around them played.
type yard struct {
	*Loops
	t      testing.TB
	mu     sync.Mutex
	ran    []string
	errs   []string
	told   []wire.Done
	kept   map[string][]byte
	order  []string
	disk   chan struct{} // if there is one, whoever stores takes from it first
	answer func(done <-chan struct{}, to Participant, call wire.Call) (wire.Raw, error)

	listening string                         // identity
	may       func(wire.Caller, string) bool // nil: everything
}

func newYard(t testing.TB, n int) *yard {
	y := &yard{t: t, kept: map[string][]byte{}}
	y.answer = func(_ <-chan struct{}, to Participant, call wire.Call) (wire.Raw, error) {
		y.note(call.ID)
		return nil, nil
	}
	y.open(n)
	return y
}

func (y *yard) open(n int) {
	y.Loops = NewLoops(n, LoopOptions{
		Clock: y, Journal: y, Caller: y, Bookings: y, May: func(c wire.Caller, right string) bool { return y.may == nil || y.may(c, right) },
		Tell: func(_ string, _ wire.Booking, done wire.Done) {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.told = append(y.told, done)
		},
	}, map[string]Handler{
		"note": func(_ context.Context, c wire.Call) (any, error) {
			y.note(c.ID)
			return map[string]any{"ok": true}, nil
		},
		"fail": func(context.Context, wire.Call) (any, error) { return nil, errors.New("no luck") },
		"boom": func(context.Context, wire.Call) (any, error) { panic("boom") },
		"hang": func(ctx context.Context, _ wire.Call) (any, error) { <-ctx.Done(); return nil, ctx.Err() },
	}, y)
}

func (y *yard) note(id string) { y.mu.Lock(); defer y.mu.Unlock(); y.ran = append(y.ran, id) }

func (y *yard) Now() (wire.UnixMicros, wire.MonoMicros) {
	return wire.At(time.Now()), wire.MonoMicros(time.Now().UnixMicro())
}
func (y *yard) Keep(string, wire.Stamped) wire.Stamp { return wire.Stamp{} }
func (y *yard) Tell(_ string, e wire.Stamped) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.errs = append(y.errs, e.(*wire.LoopError).Error)
}
func (y *yard) Seq() uint64                                       { return 0 }
func (y *yard) Health() wire.StoreHealth                          { return wire.StoreHealth{} }
func (y *yard) Subscribers(wire.Caller, string) ([]uint64, error) { return []uint64{7}, nil }
func (y *yard) Listens(c wire.Caller, _ string) bool              { return y.listening == c.Identity }
func (y *yard) Alive(uint64) bool                                 { return true }
func (y *yard) Call(done <-chan struct{}, to Participant, c wire.Call) (wire.Raw, error) {
	return y.answer(done, to, c)
}

func (y *yard) Put(ctx context.Context, key string, data []byte) error {
	if y.disk != nil {
		select {
		case <-y.disk:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.kept[key] = data
	y.order = append(y.order, key)
	return nil
}

func (y *yard) Delete(key string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.kept, key)
	return nil
}

// play runs loops in virtual time.
func play(t *testing.T, n int, f func(*yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, n)
		defer y.start()()
		f(y)
	})
}

func (y *yard) start() (stop func()) {
	ctx, cancel := context.WithCancel(y.t.Context())
	done := make(chan error, 1)
	go func() { done <- y.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			y.t.Error(err)
		}
	}
}

func (y *yard) book(b wire.Booking) wire.Booked {
	y.t.Helper()
	booked, err := y.Book(y.t.Context(), wire.Caller{Identity: "i", Conn: 7}, b)
	if err != nil {
		y.t.Fatal(err)
	}
	return booked
}

func (y *yard) enters(s wire.State) { y.Entered(s); synctest.Wait() }

func (y *yard) has(want ...string) {
	y.t.Helper()
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	if !slices.Equal(y.ran, want) {
		y.t.Fatalf("ran %v, want %v", y.ran, want)
	}
}

func TestLoopOrderAndStates(t *testing.T) {
	play(t, 1, func(y *yard) {
		for i, s := range []wire.State{wire.Operational, wire.DHCP, wire.Operational, wire.PolicyInvalid, wire.ModalUpdating, wire.Unknown} {
			if b := y.book(wire.Booking{Call: "note", State: s, ID: fmt.Sprint(i)}); b.Position != i {
				t.Errorf("position %d, want %d", b.Position, i)
			}
		}
		y.has()
		y.enters(wire.DHCP)
		y.has("1")
		y.enters(wire.Operational)
		y.has("1", "0", "2", "5")
		y.enters(wire.PolicyInvalid)
		y.has("1", "0", "2", "5", "3")
		y.enters(wire.IfaceColdplug)
		y.book(wire.Booking{Call: "note", State: wire.DHCP, ID: "again"})
		y.has("1", "0", "2", "5", "3") // below DHCP it waits again
		y.enters(wire.AwaitingModalUpdating)
		y.has("1", "0", "2", "5", "3", "again")
		y.enters(wire.ModalUpdating)
		y.has("1", "0", "2", "5", "3", "again", "4")
		if again := y.book(wire.Booking{Call: "note", ID: "4"}); again.ID != "4" {
			t.Errorf("a repeated id: %+v", again)
		}
		list, err := y.List(y.t.Context(), wire.Internal, wire.Empty{})
		if err != nil || list.Loops[0].Done != 7 || list.Loops[0].Depth != 0 {
			t.Errorf("list: %+v, %v", list, err)
		}
	})
}

func TestLoopFailures(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.answer = func(done <-chan struct{}, to Participant, _ wire.Call) (wire.Raw, error) {
			switch to.Subject {
			case "sys.call.gone":
				return nil, ErrGone
			case "sys.call.slow":
				<-done
				return nil, errors.New("canceled")
			}
			return wire.Raw{1}, nil
		}
		for _, call := range []string{"fail", "boom", "hang", "sys.call.gone", "sys.call.slow", "sys.call.fine", "note"} {
			y.book(wire.Booking{Call: call, ID: call[max(0, len(call)-4):], Done: "_INBOX.x", State: wire.DHCP})
		}
		y.book(wire.Booking{Call: "note", ID: "late", Deadline: 1, Done: "_INBOX.x"})
		y.enters(wire.DHCP)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		y.has("note")
		want := []string{
			"its deadline passed while it waited", "no luck", "panic: boom", "no answer in its time; the handler is left to itself",
			"nobody is there to run sys.call.gone (not connected)", "no answer within 5s",
		}
		slices.Sort(want)
		slices.Sort(y.errs)
		if !slices.Equal(y.errs, want) {
			t.Errorf("errors %q, want %q", y.errs, want)
		}
		if len(y.told) != 8 || y.told[len(y.told)-1].OK != true {
			t.Errorf("told %+v", y.told)
		}
	})
}

func TestLoopRefusals(t *testing.T) {
	play(t, 2, func(y *yard) {
		for want, b := range map[wire.Code]wire.Booking{
			wire.CodeNotFound: {Call: "note", Loop: 2},
		} {
			if _, err := y.Book(y.t.Context(), wire.Internal, b); wire.AsError(orNil(err)).Code != want {
				t.Errorf("%+v: %v", b, err)
			}
		}
		if _, err := y.Book(y.t.Context(), wire.Internal, wire.Booking{Call: "unheard-of"}); wire.AsError(orNil(err)).Code != wire.CodeNotFound {
			t.Errorf("unknown handler: %v", err)
		}
		y.book(wire.Booking{Call: "note", ID: "mine", Loop: 1})
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "other"}, wire.BookingID{ID: "mine"}); wire.AsError(orNil(err)).Code != wire.CodeNotFound {
			t.Errorf("another's booking was cancelled: %v", err)
		}
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: "mine"}); err != nil {
			t.Error(err)
		}
		y.book(wire.Booking{Call: "hang", ID: "busy"})
		y.enters(wire.Operational)
		y.has()
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: "busy"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("a running call was cancelled: %v", err)
		}
		if list, _ := y.List(y.t.Context(), wire.Internal, wire.Empty{}); list.Loops[0].Running == nil || list.Loops[0].Running.ID != "busy" {
			t.Errorf("list: %+v", list)
		}
	})
}

func TestLoopOffer(t *testing.T) {
	play(t, 1, func(y *yard) {
		var asked Participant
		here := "lender"
		y.answer = func(_ <-chan struct{}, to Participant, _ wire.Call) (wire.Raw, error) {
			if to.Identity != here {
				return nil, ErrGone
			}
			asked = to
			return nil, nil
		}
		if _, err := y.Offer(y.t.Context(), wire.Caller{Identity: "lender", Conn: 8}, wire.HandlerName{Name: "lamp"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("an offer without a subscription: %v", err)
		}
		if _, err := y.Offer(y.t.Context(), wire.Caller{Identity: "lender", Conn: 7}, wire.HandlerName{Name: "lamp"}); err != nil {
			t.Fatal(err)
		}
		y.enters(wire.Operational)
		y.book(wire.Booking{Call: "sys.call.lamp"})
		synctest.Wait()
		if asked.Identity != "lender" || asked.Conn != 7 {
			t.Errorf("asked %+v", asked)
		}
		here = "i" // one of the booker's own comes first
		y.book(wire.Booking{Call: "sys.call.lamp"})
		synctest.Wait()
		if asked.Identity != "i" {
			t.Errorf("asked %+v", asked)
		}
		here = "lender"
		y.Gone(7)
		y.book(wire.Booking{Call: "sys.call.lamp"})
		synctest.Wait()
		if want := "nobody is there to run sys.call.lamp (not connected)"; !slices.Equal(y.errs, []string{want}) {
			t.Errorf("errors %q after the lender has gone, want %q", y.errs, want)
		}
		if _, err := y.Offer(y.t.Context(), wire.Caller{Identity: "i", Conn: 7}, wire.HandlerName{Name: "lamp"}); err != nil {
			t.Fatal(err)
		}
		here = "i"
		y.book(wire.Booking{Call: "sys.call.lamp"})
		synctest.Wait()
		if asked.Conn != 7 {
			t.Errorf("asked %+v; the connection that offers it would be right", asked)
		}
	})
}

// TestLoopBorrow books what another lends: with the right to it, or where one has it oneself.
func TestLoopBorrow(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.may = func(c wire.Caller, right string) bool { return c.Identity == "may" && right == "call:lamp" }
		if _, err := y.Offer(y.t.Context(), wire.Caller{Identity: "lender", Conn: 7}, wire.HandlerName{Name: "lamp"}); err != nil {
			t.Fatal(err)
		}
		book := func(identity string) wire.Code {
			_, err := y.Book(y.t.Context(), wire.Caller{Identity: identity}, wire.Booking{Call: "sys.call.lamp"})
			return wire.AsError(orNil(err)).Code
		}
		free := wire.AsError(orNil(nil)).Code
		for identity, want := range map[string]wire.Code{"may": free, "lender": free, "other": wire.CodeForbidden} {
			if got := book(identity); got != want {
				t.Errorf("a booking by %s: %d, want %d", identity, got, want)
			}
		}
		y.listening = "other"
		if got := book("other"); got != free {
			t.Errorf("a booking of one's own: %d", got)
		}
	})
}

// TestLoopDurable starts again from what is stored.
func TestLoopDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1)
		y.book(wire.Booking{Call: "note", ID: "first", Durable: true})
		y.book(wire.Booking{Call: "note", ID: "second", Durable: true, Deadline: wire.InMicros(time.Hour)})
		_ = y.Put(y.t.Context(), "i.broken", []byte{0xc1})
		y.open(1)
		if err := y.Loops.Load(y.t.Context()); err != nil {
			t.Fatal(err)
		}
		defer y.start()()
		y.enters(wire.Operational)
		y.has("first", "second")
		if len(y.kept) != 1 {
			t.Errorf("kept %v; only the broken one would be right", y.kept)
		}
	})
}

// TestLoopAbsent keeps a durable call until somebody is there to run it.
func TestLoopAbsent(t *testing.T) {
	play(t, 1, func(y *yard) {
		var here atomic.Bool
		y.answer = func(_ <-chan struct{}, _ Participant, call wire.Call) (wire.Raw, error) {
			if !here.Load() {
				return nil, ErrGone
			}
			y.note(call.ID)
			return nil, nil
		}
		y.enters(wire.Operational)
		for _, id := range []string{"a", "b", "c"} {
			y.book(wire.Booking{Call: "sys.call.x", ID: id, Durable: true})
		}
		y.book(wire.Booking{Call: "sys.call.x", ID: "d", Durable: true, Deadline: wire.InMicros(time.Second)})
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		if again := y.book(wire.Booking{Call: "sys.call.x", ID: "a", Durable: true}); again.ID != "a" {
			t.Errorf("a repeated id: %+v", again)
		}
		list, err := y.List(y.t.Context(), wire.Internal, wire.Empty{})
		if l := list.Loops[0]; err != nil || l.Depth != 3 || len(l.Waiting) != 3 || l.Waiting[2].ID != "c" {
			t.Errorf("list: %+v, %v", list, err)
		}
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: "c"}); err != nil {
			t.Error(err)
		}
		y.has()
		here.Store(true)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		synctest.Wait()
		slices.Sort(y.ran) // they come back at the same moment
		y.has("a", "b")
		if len(y.errs) != 5 { // each once, and the deadline of d
			t.Errorf("errors %q", y.errs)
		}
	})
}

// TestLoopIDs books with the same id again: while the first is being stored, while it waits, on another loop, and when
// it is done.
func TestLoopIDs(t *testing.T) {
	play(t, 2, func(y *yard) {
		y.disk = make(chan struct{})
		y.book(wire.Booking{Call: "note", ID: "before"})
		answers := make(chan wire.Booked)
		for range 2 {
			go func() { answers <- y.book(wire.Booking{Call: "note", ID: "mine", Durable: true}) }()
		}
		synctest.Wait()
		impatient, cancel := context.WithTimeout(y.t.Context(), time.Second)
		defer cancel()
		if _, err := y.Book(impatient, wire.Caller{Identity: "i"}, wire.Booking{Call: "note", ID: "mine"}); wire.AsError(orNil(err)).Code != wire.CodeTimeout {
			t.Errorf("a second booking before the first is stored: %v", err)
		}
		y.disk <- struct{}{}
		want := wire.Booked{ID: "mine", Position: 1}
		for range 2 {
			if got := <-answers; got != want {
				t.Errorf("booked %+v, want %+v", got, want)
			}
		}
		for loop := range 2 {
			if got := y.book(wire.Booking{Call: "note", ID: "mine", Loop: loop}); got != want {
				t.Errorf("booked again on loop %d: %+v, want %+v", loop, got, want)
			}
		}
		other, err := y.Book(y.t.Context(), wire.Caller{Identity: "other"}, wire.Booking{Call: "note", ID: "mine"})
		if err != nil || other.Position != 2 {
			t.Errorf("another's booking with the same id: %+v, %v", other, err)
		}
		y.enters(wire.Operational)
		y.has("before", "mine", "mine")
		if got := y.book(wire.Booking{Call: "note", ID: "mine"}); got != want {
			t.Errorf("booked again when it was done: %+v, want %+v", got, want)
		}
		y.has("before", "mine", "mine")
		for i := range rememberedCalls {
			y.book(wire.Booking{Call: "note", ID: fmt.Sprint(i)})
		}
		synctest.Wait()
		y.ran = nil
		y.book(wire.Booking{Call: "note", ID: "mine"})
		y.has("mine") // it is long forgotten
	})
}

// TestLoopRefusedID leaves the id of a booking free that could not be stored.
func TestLoopRefusedID(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.disk = make(chan struct{})
		ctx, cancel := context.WithCancel(y.t.Context())
		cancel()
		if _, err := y.Book(ctx, wire.Caller{Identity: "i"}, wire.Booking{Call: "note", ID: "x", Durable: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("a booking that could not be stored: %v", err)
		}
		y.book(wire.Booking{Call: "note", ID: "x"})
		y.enters(wire.Operational)
		y.has("x")
	})
}

// TestLoopCancel leaves the id of a call free, and nothing on disk.
func TestLoopCancel(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.book(wire.Booking{Call: "note", ID: "x", Done: "_INBOX.x", Durable: true})
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: "x"}); err != nil {
			t.Fatal(err)
		}
		if len(y.kept) > 0 || len(y.errs) > 0 || len(y.told) > 0 {
			t.Errorf("kept %v, errors %v, told %v", y.kept, y.errs, y.told)
		}
		y.enters(wire.Operational)
		y.book(wire.Booking{Call: "note", ID: "x"})
		y.has("x")
	})
}

// TestLoopCancelMany takes calls out of the middle, in whatever order, and runs the others in theirs.
func TestLoopCancelMany(t *testing.T) {
	play(t, 1, func(y *yard) {
		const many = 300
		var want []string
		for i := range many {
			y.book(wire.Booking{Call: "note", ID: fmt.Sprint(i)})
		}
		for i := range many {
			if i = i * 7 % many; i%3 == 0 {
				want = append(want, fmt.Sprint(i))
				continue
			}
			if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		list, _ := y.List(y.t.Context(), wire.Internal, wire.Empty{}) // it does not fail
		if l := list.Loops[0]; l.Depth != len(want) || l.Waiting[1].ID != want[1] {
			t.Errorf("%d wait, and the second is %q; want %d and %q", l.Depth, l.Waiting[1].ID, len(want), want[1])
		}
		y.enters(wire.Operational)
		y.has(want...)
	})
}

// TestLoopDeadlineOfAnother lets a deadline that has run out in the moment of a cancel not take the next booking of the
// same id with it.
func TestLoopDeadlineOfAnother(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.book(wire.Booking{Call: "note", ID: "x", Deadline: wire.InMicros(time.Hour)})
		l := y.Loop(0)
		old := l.queue.byKey[bookingKey{"i", "x"}]
		if _, err := y.Cancel(y.t.Context(), wire.Caller{Identity: "i"}, wire.BookingID{ID: "x"}); err != nil {
			t.Fatal(err)
		}
		y.book(wire.Booking{Call: "note", ID: "x"})
		l.expire(old)
		y.enters(wire.Operational)
		y.has("x")
	})
}

// TestLoopCancelledAtOnce cancels a booking that its booker was not told of yet.
func TestLoopCancelledAtOnce(t *testing.T) {
	c, key := newClaims(), bookingKey{"i", "x"}
	own, _, err := c.take(t.Context(), key)
	if own == nil || err != nil {
		t.Fatalf("claim %v, %v", own, err)
	}
	c.free(key)
	c.settle(own, wire.Booked{ID: "x"}, nil)
	if again, _, err := c.take(t.Context(), key); again == nil || err != nil {
		t.Errorf("claim %v, %v; the id should be free again", again, err)
	}
}

// TestLoopEndsInTheMiddle keeps a durable call that runs while the daemon ends.
func TestLoopEndsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1)
		stop := y.start()
		y.answer = func(done <-chan struct{}, _ Participant, _ wire.Call) (wire.Raw, error) {
			<-done
			return nil, context.Canceled
		}
		y.book(wire.Booking{Call: "sys.call.x", ID: "x", Durable: true})
		y.enters(wire.Operational)
		stop()
		if len(y.kept) != 1 || len(y.errs) > 0 {
			t.Errorf("kept %v, errors %v; the call has not come to its end", y.kept, y.errs)
		}
	})
}

func TestLoopDrain(t *testing.T) {
	play(t, 1, func(y *yard) {
		y.enters(wire.Operational)
		y.book(wire.Booking{Call: "note", ID: "end", State: wire.ContextDestroying})
		y.book(wire.Booking{Call: "note", ID: "never", State: wire.DHCP})
		y.has("never")
		y.Destroy(y.t.Context())
		y.has("never", "end")
		y.book(wire.Booking{Call: "hang", State: wire.ContextDestroying, Timeout: wire.InMicros(time.Hour)})
		ctx, cancel := context.WithTimeout(y.t.Context(), time.Second)
		defer cancel()
		y.Destroy(ctx)
		if ctx.Err() == nil {
			t.Error("Destroy did not wait for a call that hangs")
		}
	})
}

// TestAttach calls from eight goroutines: none is lost, none comes twice.
func TestAttach(t *testing.T) {
	y := newYard(t, 1)
	defer y.start()()
	y.Entered(wire.Operational)
	const callers, each = 8, 2000
	counts := make([]int, callers*each)
	var all sync.WaitGroup
	all.Add(len(counts))
	for c := range callers {
		go func() {
			for i := range each {
				if err := y.Loop(0).Attach(wire.Operational, func() { counts[c*each+i]++; all.Done() }); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	for i, n := range counts {
		if n != 1 {
			t.Fatalf("call %d ran %d times", i, n)
		}
	}
}

func BenchmarkAttach(b *testing.B) {
	y := newYard(b, 1)
	defer y.start()()
	y.Entered(wire.Operational)
	done := make(chan struct{})
	for b.Loop() {
		if err := y.Loop(0).Attach(wire.Operational, func() { done <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
		<-done
	}
}
